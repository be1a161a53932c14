// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux
internal import Logging
internal import Passthrough
internal import Sandbox
internal import Seams

/// A virtual machine, from its configuration to its end.
struct VM<B: HostBackend>: Sendable {
  private let configuration: Configuration
  private let recorder: Recorder
  private let ending: Ending

  /// Prepares a run; only the trace file is opened.
  ///
  /// - Parameter start: When the program began; microseconds of the monotonic clock.
  init(
    _ configuration: Configuration, log: Logger, start: Int64
  ) throws(RunError) {
    self.configuration = configuration
    StandardError.stopWaiting()
    do throws(KernelError) {
      // Opening a FIFO waits for its reader: until then signals end the process.
      try Thread.unblockSignals()
      if configuration.isSandboxed { try ThreadSandbox.prepare() }
      let sandbox = configuration.isSandboxed ? try ThreadSandbox(.trace) : nil
      recorder = try Recorder(log: log, trace: configuration.trace, start: start) {
        () throws(KernelError) in try sandbox?.enter()
      }
      ending = try Ending()
    } catch { throw .kernel(error) }
  }

  /// Starts the VM, waits for its end, and hands the devices back.
  ///
  /// - Returns: How it ended. The trace is complete then, or the log says why not.
  func run() throws(RunError) -> Outcome {
    do throws(RunError) { return try live() } catch {
      recorder.trace?.finish()
      throw error
    }
  }

  private func live() throws(RunError) -> Outcome {
    recorder.phase("program-started")
    do throws(KernelError) { try DescriptorLimit.raise() } catch { recorder.log.warning("\(error)") }
    let output = StandardOutput()
    let assembly = try Assembly<B>(configuration, recorder: recorder, output: output.write)
    return try step(RunError.kernel) { () throws(KernelError) in
      // From here on these come through the event loop; a closed pipe is no reason to die.
      let signals = try Signals()
      try Thread.installKick()
      try GuardedMemory.install(
        failureStatus: Outcome.failure("").exitStatus(hasDebugExit: configuration.hasDebugExit))
      let crew = try Crew(assembly, configuration, recorder: recorder, ending: ending)
      return finish(assembly, crew, supervise(assembly, crew, signals, output))
    }
  }

  /// How often a console in the background looks if it is in the foreground; no signal says so. Milliseconds.
  private static var backgroundInterval: Int32 { 500 }

  /// Runs the threads of a machine until its end, a failure of this thread included; no vCPU is in the guest then, and
  /// the terminal is as it was.
  private func supervise(
    _ assembly: Assembly<B>, _ crew: Crew<B>, _ signals: borrowing Signals, _ output: StandardOutput
  ) -> Outcome {
    let terminal = Terminal()
    do throws(KernelError) { try serve(assembly, crew, signals, output, isTerminal: terminal != nil) } catch {
      ending.end(.failure("the main thread: \(error)"))
    }
    let outcome = ending.outcome ?? .quit
    if outcome.isRequested { recorder.trace?.hurry() }
    recorder.phase(outcome.name)
    for function in assembly.devices.functions { function.stopWaiting() }
    crew.stop()
    if !outcome.isRequested { output.drain(assembly.serial) }
    terminal?.restore()
    return outcome
  }

  /// Lets the guest start, and serves the console, the signals and the host's notices until the VM ends.
  private func serve(
    _ assembly: Assembly<B>, _ crew: Crew<B>, _ signals: borrowing Signals, _ output: StandardOutput,
    isTerminal: Bool
  ) throws(KernelError) {
    var console = Console(serial: assembly.serial, isTerminal: isTerminal, output: output.stream.number)
    let loop = try EventLoop()
    try signals.watch(loop)
    try loop.watch(assembly.serial.room.number)
    try loop.watch(assembly.serial.backlog.number)
    try loop.watch(ending.number)
    for function in assembly.devices.functions {
      for number in function.noticeNumbers { try loop.watch(number) }
    }
    try console.watch(loop)
    if try console.refill() { ending.end(.quit) }
    try crew.start()
    while !ending.isOver {
      guard let ready = try loop.next(within: console.isInBackground ? Self.backgroundInterval : -1) else {
        console.takeTerminal()
        try console.watch(loop)
        continue
      }
      if signals.owns(ready) {
        while let effect = try signals.next() {
          switch effect {
          case .end(let signal): ending.end(.signal(signal))
          case .resumed: console.takeTerminal()
          case .none: break
          }
        }
      } else if ready == assembly.serial.room.number {
        try assembly.serial.room.take()
        if try console.refill() { ending.end(.quit) }
      } else if ready == assembly.serial.backlog.number {
        try assembly.serial.backlog.take()
        try console.send(loop)
      } else if ready == output.stream.number {
        try console.send(loop)
      } else if ready == 0 {
        if try console.transfer() { ending.end(.quit) }
      } else {
        attend(to: ready, assembly.devices.functions)
      }
      try console.watch(loop)
    }
  }

  /// Does what the host's kernel asks for about a device.
  private func attend(to number: Int32, _ functions: [AssignedFunction<B>]) {
    do throws(FunctionError) {
      for function in functions where try function.attend(to: number) { return }
    } catch { ending.end(.failure(error.description)) }
  }

  /// Lets go of guest RAM, of which there may be much: no vCPU runs, and no device is a bus master any more. One whose
  /// gate could not be closed meets the IOMMU.
  private func release(_ assembly: Assembly<B>) {
    func warn(_ cause: String) {
      recorder.log.warning("guest RAM is there until the end of the process: \(cause)")
    }
    do throws(OperationError) { try assembly.devices.dma?.unpinMemory(unmapped: recorder.unpinned) } catch {
      return warn(error.description)
    }
    do throws(KernelError) { try assembly.memory.discard() } catch { warn(error.description) }
  }

  /// Hands the devices back and closes the books.
  private func finish(_ assembly: Assembly<B>, _ crew: Crew<B>, _ outcome: Outcome) -> Outcome {
    var outcome = outcome
    var failures: [FunctionError] = []
    for function in assembly.devices.functions {
      do throws(FunctionError) { try function.close() } catch { failures.append(error) }
    }
    failures += crew.handBack { release(assembly) }
    for failure in failures { add("handing back: \(failure)", to: &outcome) }
    recorder.phase("devices-handed-back")
    if configuration.printsSummary {
      StandardError.write(
        recorder.summary(
          assembly.devices.functions, outcome: outcome,
          layers: Layer.active(isSandboxed: configuration.isSandboxed)),
        patience: outcome.isRequested ? 0 : 1000)
    }
    if let trace = recorder.trace {
      trace.finish()
      if let (error, lost) = trace.failure {
        add(
          "trace \(trace.path): \(error); \(lost) records are not in it; make room or name another file",
          to: &outcome)
      }
    }
    return outcome
  }

  /// Has a run end with a failure, or tells of it where it ends with another one.
  private func add(_ failure: String, to outcome: inout Outcome) {
    if case .failure = outcome { recorder.log.error("\(failure)") } else { outcome = .failure(failure) }
  }
}
