// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import Logging
internal import Passthrough
internal import Sandbox

/// The threads of a VM: one for each vCPU, and those that populate and pin guest RAM. They wait, under
/// their filters, until all are there.
struct Crew {
  private let cpus: [VirtualCPU]
  private var threads: [Thread] = []
  private let control: Filter?
  private let gate: Start
  private let ending: Ending
  private let handOver: HandOver
  private let others: [AssignedFunction]

  /// Where threads say that they are ready and wait to be let go.
  private final class Start: Sendable {
    let ready: Event
    let go: Event
    let ending: Ending

    init(_ ending: Ending) throws(KernelError) {
      ready = try Event()
      go = try Event()
      self.ending = ending
    }

    /// Loads a thread's filter, says so, and waits; whether the thread shall go on.
    func enter(_ filter: Filter?) -> Bool {
      do throws(KernelError) {
        try filter?.load()
        ready.signal()
        try go.wait()
        return true
      } catch {
        ending.end(.failure(error.description))
        ready.signal()
        return false
      }
    }
  }

  /// Makes the threads of a machine.
  init(
    _ assembly: Assembly, _ configuration: Configuration, recorder: Recorder, ending: Ending
  ) throws(KernelError) {
    let isSandboxed = configuration.isSandboxed
    if !isSandboxed { recorder.log.warning("--sandbox off: this run is not confined by seccomp") }
    func filter(_ kind: ThreadKind) throws(KernelError) -> Filter? {
      isSandboxed ? try Filter(kind) : nil
    }
    let gate = try Start(ending)
    self.gate = gate
    self.ending = ending
    cpus = assembly.cpus
    let functions = assembly.devices.functions
    let handOver = try HandOver(functions.filter(\.isResetAlone))
    self.handOver = handOver
    others = functions.filter { !$0.isResetAlone }
    control = try filter(.control)
    let ports = PortBus(
      serial: assembly.serial, root: assembly.root, ending: ending,
      hasDebugExit: configuration.hasDebugExit)
    let vcpuFilter = try filter(.vcpu)
    for cpu in cpus {
      let processor = Processor(
        cpu: cpu, ports: ports, root: assembly.root, ending: ending,
        generation: assembly.devices.host?.generation)
      let place = configuration.cpuPins[cpu.index]
      threads.append(
        try Thread(name: "vcpu\(cpu.index)") {
          defer { handOver.help() }
          cpu.adopt()
          if let place, !bind(cpu.index, to: place, ending) { return gate.ready.signal() }
          guard gate.enter(vcpuFilter) else { return }
          if cpu.index == 0 { recorder.phase("first-instruction") }
          processor.run()
        })
    }
    guard
      let preparation = Preparation(
        assembly.memory, dma: assembly.devices.dma, isPreallocated: configuration.isPreallocated,
        processors: try Thread.processorCount())
    else { return }
    preparation.show(on: (Terminal.isTerminal(2), Terminal.isTerminal(1)))
    let pinFilter = try filter(.pin)
    for index in 0..<preparation.threadCount {
      threads.append(
        try Thread(name: "pin\(index)") {
          guard gate.enter(pinFilter) else { return }
          let failure = preparation.work(shouldStop: { ending.isOver }, pinned: recorder.pinned)
          if let failure { ending.end(.failure(failure.description)) }
        })
    }
  }

  /// Confines the calling thread too and lets all go: the guest's first instruction comes after this.
  func start() throws(KernelError) {
    var waiting = UInt64(threads.count)
    while waiting > 0 {
      try gate.ready.wait()
      waiting -= min(waiting, try gate.ready.take())
    }
    try control?.load()
    gate.go.signal()
  }

  /// Takes all vCPUs out of the guest for good.
  func stop() throws(KernelError) {
    for cpu in cpus { cpu.interrupt() }
    try handOver.waitForStop(of: cpus.count)
  }

  /// Gives back the devices, whose gates are closed, and waits for the threads' end; why it failed.
  func handBack() -> [FunctionError] {
    handOver.start()
    for thread in threads { thread.join() }
    var failures = handOver.failed
    // A bus that several of them share is reset when the others are through.
    for function in others {
      do throws(FunctionError) { try function.handBack() } catch { failures.append(error) }
    }
    return failures
  }
}

/// Keeps a vCPU's thread on a processor of the host; false, and the VM ends, where that fails.
private func bind(_ cpu: Int, to processor: Int, _ ending: Ending) -> Bool {
  do throws(KernelError) {
    try Thread.bind(toProcessor: processor)
    return true
  } catch {
    ending.end(.failure("--cpu-pin: vCPU \(cpu): \(error)"))
    return false
  }
}
