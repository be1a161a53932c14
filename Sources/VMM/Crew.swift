// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import Logging
internal import Passthrough
internal import Sandbox

/// The threads of a VM: one for each vCPU, and one that pins guest RAM. They wait, under their
/// filters, until all are there.
struct Crew {
  private let cpus: [VirtualCPU]
  private var threads: [Thread] = []
  private let control: Filter?
  private let gate: Start
  private let ending: Ending

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
    _ assembly: Assembly, isSandboxed: Bool, recorder: Recorder, ending: Ending,
    hasDebugExit: Bool
  ) throws(KernelError) {
    if !isSandboxed { recorder.log.warning("--sandbox off: this run is not confined by seccomp") }
    func filter(_ kind: ThreadKind) throws(KernelError) -> Filter? {
      isSandboxed ? try Filter(kind) : nil
    }
    let gate = try Start(ending)
    self.gate = gate
    self.ending = ending
    cpus = assembly.cpus
    control = try filter(.control)
    let ports = PortBus(
      serial: assembly.serial, root: assembly.root, ending: ending, hasDebugExit: hasDebugExit)
    let vcpuFilter = try filter(.vcpu)
    for cpu in cpus {
      let processor = Processor(
        cpu: cpu, ports: ports, root: assembly.root, ending: ending,
        generation: assembly.devices.host?.generation)
      threads.append(
        try Thread(name: "vcpu\(cpu.index)") {
          cpu.adopt()
          guard gate.enter(vcpuFilter) else { return }
          if cpu.index == 0 { recorder.phase("first-instruction") }
          processor.run()
        })
    }
    if let dma = assembly.devices.dma {
      let pinFilter = try filter(.pin)
      threads.append(
        try Thread(name: "pin") {
          guard gate.enter(pinFilter) else { return }
          dma.pinMemory(shouldStop: { ending.isOver }, mapped: recorder.pinned)
          if let error = dma.failure { ending.end(.failure("guest RAM cannot be pinned: \(error)")) }
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

  /// Takes all vCPUs out of the guest, and waits for the threads' end.
  func stop() {
    for cpu in cpus { cpu.interrupt() }
    for thread in threads { thread.join() }
  }
}
