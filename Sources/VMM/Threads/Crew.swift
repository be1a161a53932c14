// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import Logging
internal import Passthrough
internal import Sandbox
internal import Seams

/// The threads of a VM: one for each vCPU and for each device, and those that populate and pin guest RAM. They
/// wait, under their filters, until all are there.
struct Crew<B: HostBackend> {
  private let cpus: [VirtualCPU]
  private var vcpus: [Thread] = []
  private var others: [Thread] = []
  private let control: ThreadSandbox?
  private let gate: StartBarrier
  private let ending: Ending
  private let handOver: HandOver
  /// Those that are reset with others of the VM.
  private let bound: [AssignedFunction<B>]

  /// Makes the threads of a machine.
  init(
    _ assembly: Assembly<B>, _ configuration: Configuration, recorder: Recorder, ending: Ending
  ) throws(RunError) {
    let isSandboxed = configuration.isSandboxed
    if !isSandboxed { recorder.log.warning("the sandbox is off: this run is not confined") }
    func sandbox(_ kind: ThreadKind) throws(RunError) -> ThreadSandbox? {
      guard isSandboxed else { return nil }
      return try step(RunError.sandbox) { () throws(SandboxError) in try ThreadSandbox(kind) }
    }
    let gate = try step(RunError.kernel) { () throws(KernelError) in try StartBarrier(ending) }
    self.gate = gate
    self.ending = ending
    cpus = assembly.cpus
    handOver = try step(RunError.kernel) { () throws(KernelError) in try HandOver() }
    bound = assembly.devices.functions.filter { !$0.isResetAlone }
    control = try sandbox(.control)
    try addDevices(assembly.devices.functions.filter(\.isResetAlone), sandbox(.device))
    let ports = PortBus(
      serial: assembly.serial, root: assembly.root, ending: ending,
      hasDebugExit: configuration.hasDebugExit)
    let vcpuSandbox = try sandbox(.vcpu)
    for cpu in cpus {
      let processor = Processor(
        cpu: cpu, ports: ports, root: assembly.root, ending: ending,
        generation: assembly.devices.host?.generation, openings: assembly.devices.host?.openings,
        warn: { text in recorder.log.warning("\(text)") })
      let place = configuration.cpuPins[cpu.index]
      vcpus.append(
        try Self.thread("vcpu\(cpu.index)") {
          cpu.adopt()
          guard prepare(cpu.index, processor: place, ending) else { return gate.ready.signal() }
          guard gate.enter(vcpuSandbox) else { return }
          if cpu.index == 0 { recorder.phase("first-instruction") }
          processor.run()
        })
    }
    let processors = try step(RunError.kernel) { () throws(KernelError) in try Thread.processorCount() }
    guard
      let preparation = Preparation(
        assembly.memory, dma: assembly.devices.dma, isPreallocated: configuration.isPreallocated,
        processors: processors)
    else { return }
    preparation.show(on: (Terminal.isTerminal(2), Terminal.isTerminal(1)))
    let pinSandbox = try sandbox(.pin)
    for index in 0..<preparation.threadCount {
      others.append(
        try Self.thread("pin\(index)") {
          guard gate.enter(pinSandbox) else { return }
          preparation.work(
            shouldStop: { ending.isOver }, pinned: recorder.pinned,
            failed: { ending.end(.failure(.preparation($0))) })
        })
    }
  }

  /// Makes a thread for each device: it begins to reset it while the other threads are made.
  private mutating func addDevices(_ functions: [AssignedFunction<B>], _ sandbox: ThreadSandbox?)
    throws(RunError)
  {
    let (gate, ending, handOver) = (gate, ending, handOver)
    for function in functions {
      others.append(
        try Self.thread("device") {
          guard gate.pass(sandbox) else { return }
          handOver.serve(
            function, begun: { gate.ready.signal() },
            failed: { ending.end(.failure(.function($0))) })
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
  func handBack(meanwhile: () -> Void) -> [FunctionError] {
    handOver.giveBackAll()
    meanwhile()
    for thread in others { thread.join() }
    // A bus that several of them share is reset when the others are through.
    for function in bound { handOver.giveBack(function) }
    return handOver.failed
  }
}

/// Where threads say that they are ready and wait to be let go.
private final class StartBarrier: Sendable {
  let ready: Event
  let go: Event
  let ending: Ending

  init(_ ending: Ending) throws(KernelError) {
    ready = try Event()
    go = try Event()
    self.ending = ending
  }

  /// Confines a thread, says so, and waits; false if the VM has ended.
  func enter(_ sandbox: ThreadSandbox?) -> Bool {
    let isReady = succeed { () throws(KernelError) in
      try sandbox?.enter()
      ready.signal()
      try go.wait()
    }
    return isReady && !ending.isOver
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
      ending.end(.failure(.kernel(error)))
      ready.signal()
      return false
    }
  }
}

/// Prepares a vCPU's thread: lets the kick interrupt it, and keeps it on a processor of the host. If that fails, the VM
/// ends and this returns false.
private func prepare(_ cpu: Int, processor: Int?, _ ending: Ending) -> Bool {
  do throws(KernelError) { try Thread.acceptKick() } catch {
    ending.end(.failure(.vcpu(cpu, error)))
    return false
  }
  guard let processor else { return true }
  do throws(KernelError) {
    try Thread.bind(toProcessor: processor)
    return true
  } catch {
    ending.end(.failure(.placement(vcpu: cpu, error)))
    return false
  }
}
