// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import Logging
internal import Passthrough
internal import Sandbox
internal import Seams

/// The threads of a VM: one for each vCPU, one for each device that is reset alone, one for the control socket, one for hotplug, and the
/// threads that populate and pin guest RAM. Each thread loads its seccomp filter. The guest starts after all threads are
/// ready.
struct VMThreads<B: HostBackend> {
  private let cpus: [VirtualCPU]
  private var vcpus: [Thread] = []
  private var devices: [Thread] = []
  private var pins: [Thread] = []
  private var readers: [Thread] = []
  private var socket: Thread?
  private var hotplug: Thread?
  private let hotplugQueue: HotplugQueue<B>
  private let serverReaders: ServerReaders?
  private let server: ControlServer?
  private let control: ThreadSandbox?
  private let barrier: StartBarrier
  private let shutdown: ShutdownRequest
  private let lifecycle: DeviceLifecycle
  /// The functions whose reset also resets other functions of the VM.
  private let busResetFunctions: [AssignedFunction<B>]

  /// Creates the threads of a machine.
  init(
    _ builder: MachineBuilder<B>, _ configuration: Configuration, eventLog: EventLog,
    shutdown: ShutdownRequest, server: ControlServer?, status: MachineStatus<B>,
    hotplug: Hotplug<B>
  ) throws(RunError) {
    let isSandboxed = configuration.layers.contains(.seccomp)
    if configuration.layers == .none {
      eventLog.log.warning("the sandbox is off: the threads are not confined")
    }
    func sandbox(_ kind: ThreadKind) throws(RunError) -> ThreadSandbox? {
      guard isSandboxed else { return nil }
      return try step(RunError.sandbox) { () throws(SandboxError) in
        try ThreadSandbox(
          kind, rules: Rule.machine(builder.devices.interface, hasServers: configuration.canHaveServers))
      }
    }
    let barrier = try step(RunError.kernel) { () throws(KernelError) in try StartBarrier(shutdown) }
    self.barrier = barrier
    self.shutdown = shutdown
    self.server = server
    cpus = builder.cpus
    hotplugQueue = builder.hotplugQueue
    lifecycle = try step(RunError.kernel) { () throws(KernelError) in try DeviceLifecycle() }
    busResetFunctions = builder.devices.functions.filter { !$0.isResetAlone }
    control = try sandbox(.control)
    serverReaders = builder.devices.backend?.readers
    try addReaders(sandbox)
    try addDevices(builder.devices.functions.filter(\.isResetAlone), sandbox(.device))
    if let server {
      let socketSandbox = try sandbox(.socket)
      socket = try Self.thread("socket") {
        if barrier.enter(socketSandbox) { server.run { status.fields } }
      }
    }
    if !builder.root.ports.isEmpty {
      let hotplugSandbox = try sandbox(.hotplug)
      self.hotplug = try Self.thread("hotplug") { if barrier.enter(hotplugSandbox) { hotplug.run() } }
    }
    let ports = PortBus(
      serial: builder.serial, root: builder.root, shutdown: shutdown,
      hasDebugExit: configuration.hasDebugExit)
    let vcpuSandbox = try sandbox(.vcpu)
    for cpu in cpus {
      let vcpu = VCPUThread(
        cpu: cpu, ports: ports, root: builder.root, shutdown: shutdown,
        generation: builder.devices.context?.generation, openings: builder.devices.context?.openings,
        warn: { text in eventLog.log.warning("\(text)") })
      let processor = configuration.cpuPins[cpu.index]
      vcpus.append(
        try Self.thread("vcpu\(cpu.index)") {
          cpu.adopt()
          guard prepare(cpu.index, processor: processor, shutdown) else { return barrier.ready.signal() }
          guard barrier.enter(vcpuSandbox) else { return }
          if cpu.index == 0 { eventLog.guestStarts() }
          vcpu.run()
        })
    }
    let processors = try step(RunError.kernel) { () throws(KernelError) in try Thread.processorCount() }
    guard
      let preparer = MemoryPreparer(
        builder.memory, dma: builder.devices.dma.flatMap { $0.isEmpty ? nil : $0 },
        isPreallocated: configuration.isPreallocated,
        processors: processors)
    else { return }
    // The filter of a pin thread does not allow these calls.
    let interface = builder.devices.interface
    let limit = try step(RunError.kernel) { () throws(KernelError) in try PinningLimit.current(interface) }
    preparer.show(on: (Terminal.isTerminal(2), Terminal.isTerminal(1)))
    let (pinSandbox, queue) = (try sandbox(.pin), hotplugQueue)
    for index in 0..<preparer.threadCount {
      pins.append(
        try Self.thread("pin\(index)") {
          guard barrier.enter(pinSandbox) else { return }
          preparer.work(
            shouldStop: { shutdown.isOver }, pinned: eventLog.pinned,
            failed: { shutdown.end(.failure(.preparation($0.adding(limit)))) }, finished: queue.wake)
        })
    }
  }

  /// Creates the threads that receive the messages of devices in other processes. They begin at once, because a device is
  /// reset before the start.
  private mutating func addReaders(_ sandbox: (ThreadKind) throws(RunError) -> ThreadSandbox?)
    throws(RunError)
  {
    guard let serverReaders else { return }
    serverReaders.prepare()
    let (barrier, readerSandbox) = (barrier, try sandbox(.reader))
    for place in serverReaders.places {
      readers.append(
        try Self.thread("reader") {
          guard barrier.confine(readerSandbox) else { return }
          barrier.ready.signal()
          place.run()
        })
    }
  }

  /// Creates a thread for each of these functions. It resets the device while the other threads are created.
  private mutating func addDevices(_ functions: [AssignedFunction<B>], _ sandbox: ThreadSandbox?)
    throws(RunError)
  {
    let (barrier, shutdown, lifecycle) = (barrier, shutdown, lifecycle)
    for function in functions {
      devices.append(
        try Self.thread("device") {
          guard barrier.confine(sandbox) else { return }
          lifecycle.serve(
            function, begun: { barrier.ready.signal() },
            failed: { shutdown.end(.failure(.function($0))) })
        })
    }
  }

  private static func thread(
    _ name: String, _ body: @escaping @Sendable () -> Void
  ) throws(RunError) -> Thread {
    try step(RunError.kernel) { () throws(KernelError) in try Thread(name: name, body) }
  }

  /// Waits until all threads are ready, confines the calling thread and starts the guest. The guest executes
  /// no instruction before that.
  func start() throws(KernelError) {
    var waiting = UInt64(
      vcpus.count + devices.count + pins.count + readers.count + (socket == nil ? 0 : 1)
        + (hotplug == nil ? 0 : 1))
    while waiting > 0 {
      try barrier.ready.wait()
      waiting -= min(waiting, try barrier.ready.take())
    }
    ProgramCode.drop()
    try control?.enter()
    barrier.go.signal()
  }

  /// Stops all vCPUs and hotplug permanently, and waits for the end of their threads. Threads that still wait for the
  /// start also end.
  func stop() {
    barrier.go.signal()
    for cpu in cpus { cpu.interrupt() }
    hotplugQueue.finish()
    for thread in vcpus { thread.join() }
    hotplug?.join()
  }

  /// Ends the control socket's thread and waits for its end.
  func endControl() {
    server?.exchange.finish()
    socket?.join()
  }

  /// Returns the devices, whose gates are closed, to the host and waits for the end of the threads.
  /// Concurrently calls `during`, which must not need the devices.
  ///
  /// No thread pins guest RAM during the call of `during`. iommufd refuses to unmap a piece that is being mapped
  /// (EBUSY). A thread that pins a piece ends after that piece.
  ///
  /// - Parameters:
  ///   - added: The devices that were added while the VM ran. They have no thread.
  ///   - during: The concurrent work.
  /// - Returns: The errors of devices that could not be returned.
  func releaseDevices(_ added: [AssignedFunction<B>], during: () -> Void) -> [FunctionError] {
    lifecycle.releaseAll()
    for function in added { lifecycle.release(function) }
    for thread in pins { thread.join() }
    during()
    for thread in devices { thread.join() }
    // A bus that several devices share is reset after all other devices.
    for function in busResetFunctions { lifecycle.release(function) }
    serverReaders?.finish()
    for thread in readers { thread.join() }
    return lifecycle.failed
  }
}

/// The barrier at which threads report that they are ready and wait for the start.
private final class StartBarrier: Sendable {
  let ready: EventFD
  let go: EventFD
  let shutdown: ShutdownRequest

  init(_ shutdown: ShutdownRequest) throws(KernelError) {
    ready = try EventFD()
    go = try EventFD()
    self.shutdown = shutdown
  }

  /// Confines the calling thread, reports it as ready and waits for the start. Returns false if the VM has
  /// ended.
  func enter(_ sandbox: ThreadSandbox?) -> Bool {
    let isReady = succeed { () throws(KernelError) in
      try sandbox?.enter()
      ready.signal()
      try go.wait()
    }
    return isReady && !shutdown.isOver
  }

  /// Confines the calling thread without waiting. Returns false on failure. Otherwise the caller signals
  /// `ready`.
  func confine(_ sandbox: ThreadSandbox?) -> Bool {
    succeed { () throws(KernelError) in try sandbox?.enter() }
  }

  private func succeed(_ body: () throws(KernelError) -> Void) -> Bool {
    do throws(KernelError) {
      try body()
      return true
    } catch {
      shutdown.end(.failure(.kernel(error)))
      ready.signal()
      return false
    }
  }
}

/// Prepares a vCPU's thread: lets the kick signal interrupt it, and binds it to a host processor. On failure,
/// ends the VM and returns false.
private func prepare(_ cpu: Int, processor: Int?, _ shutdown: ShutdownRequest) -> Bool {
  do throws(KernelError) { try Thread.acceptKick() } catch {
    shutdown.end(.failure(.vcpu(cpu, error)))
    return false
  }
  guard let processor else { return true }
  do throws(KernelError) {
    try Thread.bind(toProcessor: processor)
    return true
  } catch {
    shutdown.end(.failure(.placement(vcpu: cpu, error)))
    return false
  }
}
