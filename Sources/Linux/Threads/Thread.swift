// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A POSIX thread with a name.
public struct Thread: Sendable {
  private let handle: pthread_t

  /// A body on its way to the thread that runs it.
  private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void
    init(_ name: String, _ body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// Starts a thread.
  ///
  /// - Parameters:
  ///   - name: Up to 15 bytes, as `ps -L` shows it.
  public init(name: String, _ body: @escaping @Sendable () -> Void) throws(KernelError) {
    var handle = pthread_t()
    // SAFETY: the retained object is taken over by exactly one of the new thread and, when
    // there is none, the error path.
    let start = unsafe Unmanaged.passRetained(Start(name, body))
    let error = unsafe pthread_create(
      &handle, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        unsafe cl_name_thread(start.name)
        _ = cl_block_library_signals()
        start.body()
        return nil
      }, start.toOpaque())
    // glibc unblocks them in the first thread to create one, and in the new one. A signal from outside would meet its
    // handler. The call cannot fail.
    _ = cl_block_library_signals()
    guard error == 0 else {
      unsafe start.release()
      throw KernelError("pthread_create \(name)", errno: error)
    }
    self.handle = handle
  }

  /// Calls `body` with every number below `count`, each in a thread of its own that ends with it; one is no
  /// more than a call.
  ///
  /// - Throws: When a thread could not be started; the calls that were begun have ended then.
  public static func each(
    _ count: Int, name: String, _ body: @escaping @Sendable (Int) -> Void
  ) throws(KernelError) {
    guard count > 1 else { return (0..<count).forEach(body) }
    var threads: [Thread] = []
    defer { for thread in threads { thread.join() } }
    for index in 0..<count { threads.append(try Thread(name: name) { body(index) }) }
  }

  /// Waits for the thread's end.
  public func join() { pthread_join(handle, nil) }

  /// The names of a thread to the kernel, by which another one can interrupt it.
  public struct Identity: Sendable, Equatable {
    let process: Int32
    let thread: Int32

    /// The calling thread.
    public static var current: Identity {
      Identity(process: cl_process_id(), thread: cl_thread_id())
    }

    /// Interrupts a blocking KVM_RUN of the thread with the kick signal. A thread that has ended is
    /// left alone.
    public func kick() { cl_kick(process, thread) }
  }

  /// Keeps the calling thread on one processor of the host.
  public static func bind(toProcessor processor: Int) throws(KernelError) {
    try check(
      cl_bind_thread(UInt32(clamping: processor)), "sched_setaffinity to processor \(processor)")
  }

  /// Whether the calling thread may run on a processor of the host (sched_getaffinity).
  public static func mayRun(onProcessor processor: Int) throws(KernelError) -> Bool {
    try check(cl_may_run_on(UInt32(clamping: processor)), "sched_getaffinity") > 0
  }

  /// How many processors the calling thread may run on.
  public static func processorCount() throws(KernelError) -> Int {
    Int(try check(cl_processor_count(), "sched_getaffinity"))
  }

  /// Makes the kick signal interrupt a call and do nothing else.
  public static func installKick() throws(KernelError) {
    try check(cl_install_kick(), "sigaction SIGURG")
  }

  /// Lets the kick signal interrupt the calling thread, even if the parent of the process had blocked it.
  public static func acceptKick() throws(KernelError) {
    try check(cl_accept_kick(), "rt_sigprocmask SIGURG")
  }

  /// Lets every signal interrupt the calling thread, even if the parent of the process had blocked it.
  public static func unblockSignals() throws(KernelError) {
    try check(cl_unblock_signals(), "rt_sigprocmask")
  }

  /// Leaves all signals but those of faults to other threads.
  public static func blockSignals() throws(KernelError) {
    try check(cl_block_signals(), "rt_sigprocmask")
  }
}
