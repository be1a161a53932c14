// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A POSIX thread with a name.
public struct Thread: Sendable {
  private let handle: pthread_t

  /// The name and the body of a thread, for the new thread.
  private final class StartArgument: Sendable {
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
  ///   - name: Up to 15 bytes. `ps -L` shows it.
  ///   - body: The code that the thread runs. The thread ends when it returns.
  public init(name: String, _ body: @escaping @Sendable () -> Void) throws(KernelError) {
    var handle = pthread_t()
    // SAFETY: exactly one of the new thread and the error path releases the retained object. The error path
    // does so if there is no thread.
    let start = unsafe Unmanaged.passRetained(StartArgument(name, body))
    let error = unsafe pthread_create(
      &handle, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        let start = unsafe Unmanaged<StartArgument>.fromOpaque(argument).takeRetainedValue()
        unsafe cl_name_thread(start.name)
        _ = cl_block_library_signals()
        start.body()
        return nil
      }, start.toOpaque())
    // glibc unblocks these signals in the first thread that creates a thread, and in the new thread. A signal
    // from another process would then reach glibc's handler. The call cannot fail.
    _ = cl_block_library_signals()
    guard error == 0 else {
      unsafe start.release()
      throw KernelError("pthread_create \(name)", errno: error)
    }
    self.handle = handle
  }

  /// Calls `body` with every number below `count`, each in a separate thread, and waits for the threads. A
  /// count of one is a direct call.
  ///
  /// - Throws: An error if a thread cannot be started. The calls that have begun have then ended.
  public static func concurrentForEach(
    _ count: Int, name: String, _ body: @escaping @Sendable (Int) -> Void
  ) throws(KernelError) {
    guard count > 1 else { return (0..<count).forEach(body) }
    var threads: [Thread] = []
    defer { for thread in threads { thread.join() } }
    for index in 0..<count { threads.append(try Thread(name: name) { body(index) }) }
  }

  /// Waits until the thread ends.
  public func join() { pthread_join(handle, nil) }

  /// The kernel's IDs of a thread. Another thread can interrupt the thread by them.
  public struct Identity: Sendable, Equatable {
    let process: Int32
    let thread: Int32

    /// The calling thread.
    public static var current: Identity {
      Identity(process: cl_process_id(), thread: cl_thread_id())
    }

    /// Interrupts a blocking KVM_RUN of the thread with the kick signal. Does nothing if the thread has
    /// ended.
    public func kick() { cl_kick(process, thread) }
  }

  /// Binds the calling thread to one processor of the host.
  public static func bind(toProcessor processor: Int) throws(KernelError) {
    try check(
      cl_bind_thread(UInt32(clamping: processor)), "sched_setaffinity to processor \(processor)")
  }

  /// Returns true if the calling thread may run on a processor of the host (sched_getaffinity).
  public static func mayRun(onProcessor processor: Int) throws(KernelError) -> Bool {
    try check(cl_may_run_on(UInt32(clamping: processor)), "sched_getaffinity") > 0
  }

  /// Returns the number of processors that the calling thread may run on.
  public static func processorCount() throws(KernelError) -> Int {
    Int(try check(cl_processor_count(), "sched_getaffinity"))
  }

  /// Installs a handler for the kick signal that interrupts a call and does nothing else.
  public static func installKick() throws(KernelError) {
    try check(cl_install_kick(), "sigaction SIGURG")
  }

  /// Unblocks the kick signal in the calling thread, even if the parent of the process blocked it.
  public static func acceptKick() throws(KernelError) {
    try check(cl_accept_kick(), "rt_sigprocmask SIGURG")
  }

  /// Unblocks every signal in the calling thread, even if the parent of the process blocked it.
  public static func unblockSignals() throws(KernelError) {
    try check(cl_unblock_signals(), "rt_sigprocmask")
  }

  /// Blocks all signals except fault signals in the calling thread. Other threads receive them.
  public static func blockSignals() throws(KernelError) {
    try check(cl_block_signals(), "rt_sigprocmask")
  }
}
