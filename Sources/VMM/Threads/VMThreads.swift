// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import Logging
internal import Passthrough
internal import Sandbox
internal import Seams

/// The threads of a VM: one for each vCPU and for each device, and those that populate and pin guest RAM. They
/// wait, under their filters, until all are there.
struct VMThreads<B: HostBackend> {
  private let cpus: [VirtualCPU]
  private var vcpus: [Thread] = []
  private var others: [Thread] = []
  private let control: ThreadSandbox?
  private let gate: StartBarrier
  private let shutdown: ShutdownRequest
  private let lifecycle: DeviceLifecycle
  /// Those that are reset with others of the VM.
  private let bound: [AssignedFunction<B>]

  /// Makes the threads of a machine.
  init(
    _ builder: MachineBuilder<B>, _ configuration: Configuration, eventLog: EventLog,
    shutdown: ShutdownRequest
  ) throws(RunError) {
    let isSandboxed = configuration.isSandboxed
    if !isSandboxed { eventLog.log.warning("the sandbox is off: this run is not confined") }
    func sandbox(_ kind: ThreadKind) throws(RunError) -> ThreadSandbox? {
      guard isSandboxed else { return nil }
      return try step(RunError.sandbox) { () throws(SandboxError) in try ThreadSandbox(kind) }
    }
    let gate = try step(RunError.kernel) { () throws(KernelError) in try StartBarrier(shutdown) }
    self.gate = gate
    self.shutdown = shutdown
    cpus = builder.cpus
    lifecycle = try step(RunError.kernel) { () throws(KernelError) in try DeviceLifecycle() }
    bound = builder.devices.functions.filter { !$0.isResetAlone }
    control = try sandbox(.control)
    try addDevices(builder.devices.functions.filter(\.isResetAlone), sandbox(.device))
    let ports = PortBus(
      serial: builder.serial, root: builder.root, shutdown: shutdown,
      hasDebugExit: configuration.hasDebugExit)
    let vcpuSandbox = try sandbox(.vcpu)
    for cpu in cpus {
      let processor = VCPUThread(
        cpu: cpu, ports: ports, root: builder.root, shutdown: shutdown,
        generation: builder.devices.host?.generation, openings: builder.devices.host?.openings,
        warn: { text in eventLog.log.warning("\(text)") })
      let place = configuration.cpuPins[cpu.index]
      vcpus.append(
        try Self.thread("vcpu\(cpu.index)") {
          cpu.adopt()
          guard prepare(cpu.index, processor: place, shutdown) else { return gate.ready.signal() }
          guard gate.enter(vcpuSandbox) else { return }
          if cpu.index == 0 { eventLog.phase("first-instruction") }
          processor.run()
        })
    }
    let processors = try step(RunError.kernel) { () throws(KernelError) in try Thread.processorCount() }
    guard
      let preparer = MemoryPreparer(
        builder.memory, dma: builder.devices.dma, isPreallocated: configuration.isPreallocated,
        processors: processors)
    else { return }
    preparer.show(on: (Terminal.isTerminal(2), Terminal.isTerminal(1)))
    let pinSandbox = try sandbox(.pin)
    for index in 0..<preparer.threadCount {
      others.append(
        try Self.thread("pin\(index)") {
          guard gate.enter(pinSandbox) else { return }
          preparer.work(
            shouldStop: { shutdown.isOver }, pinned: eventLog.pinned,
            failed: { shutdown.end(.failure(.preparation($0))) })
        })
    }
  }

  /// Makes a thread for each device: it begins to reset it while the other threads are made.
  private mutating func addDevices(_ functions: [AssignedFunction<B>], _ sandbox: ThreadSandbox?)
    throws(RunError)
  {
    let (gate, shutdown, lifecycle) = (gate, shutdown, lifecycle)
    for function in functions {
      others.append(
        try Self.thread("device") {
          guard gate.pass(sandbox) else { return }
          lifecycle.serve(
            function, begun: { gate.ready.signal() },
            failed: { shutdown.end(.failure(.function($0))) })
        })
    }
  }

  private static func thread(
    _ name: String, _ body: @escaping @Sendable () -> Void
  ) throws(RunError) -> Thread {
    try step(RunError.kernel) { () throws(KernelError) in try Thread(name: name, body) }
  }

  /// Confines the calling thread too and lets all go: the guest's first instruction comes after this.
  func start() throws(KernelError) {
    var waiting = UInt64(vcpus.count + others.count)
    while waiting > 0 {
      try gate.ready.wait()
      waiting -= min(waiting, try gate.ready.take())
    }
    try control?.enter()
    gate.go.signal()
  }

  /// Takes all vCPUs out of the guest for good, and waits for their threads' end. Threads that still wait for the start
  /// end, too.
  func stop() {
    gate.go.signal()
    for cpu in cpus { cpu.interrupt() }
    for thread in vcpus { thread.join() }
  }

  /// Gives back the devices, whose gates are closed, and waits for the threads' end; why it failed.
  ///
  /// - Parameter meanwhile: What does not need the devices.
  func releaseDevices(meanwhile: () -> Void) -> [FunctionError] {
    lifecycle.releaseAll()
    meanwhile()
    for thread in others { thread.join() }
    // A bus that several of them share is reset when the others are through.
    for function in bound { lifecycle.release(function) }
    return lifecycle.failed
  }
}

/// Where threads say that they are ready and wait to be let go.
private final class StartBarrier: Sendable {
  let ready: EventFD
  let go: EventFD
  let shutdown: ShutdownRequest

  init(_ shutdown: ShutdownRequest) throws(KernelError) {
    ready = try EventFD()
    go = try EventFD()
    self.shutdown = shutdown
  }

  /// Confines a thread, says so, and waits; false if the VM has ended.
  func enter(_ sandbox: ThreadSandbox?) -> Bool {
    let isReady = succeed { () throws(KernelError) in
      try sandbox?.enter()
      ready.signal()
      try go.wait()
    }
    return isReady && !shutdown.isOver
  }

  /// Confines a thread that need not wait; whether it shall go on, and say itself that it is ready.
  func pass(_ sandbox: ThreadSandbox?) -> Bool {
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

/// Prepares a vCPU's thread: lets the kick interrupt it, and keeps it on a processor of the host. If that fails, the VM
/// ends and this returns false.
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
