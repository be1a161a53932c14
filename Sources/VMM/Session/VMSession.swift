// SPDX-License-Identifier: Apache-2.0

internal import Linux
public import Logging
public import Passthrough
internal import Sandbox

/// The execution of one VM by the program, with the process's console, signals and trace.
public struct VMSession: Sendable {
  private let configuration: Configuration
  private let files: HostFiles
  private let eventLog: EventLog
  private let shutdown: ShutdownRequest
  private let socket: ControlSocket?
  private let advice: @Sendable (ControlError) -> String

  /// Prepares a session. Opens only the trace file and the control socket.
  ///
  /// - Parameters:
  ///   - configuration: The VM.
  ///   - files: The files of the VM.
  ///   - log: The log for warnings.
  ///   - start: The start time of the program, in microseconds of the monotonic clock.
  ///   - remedy: Returns the advice for a warning's reason, or nil if there is none.
  ///   - advice: Returns the remedy for an error of a request at the control socket.
  public init(
    _ configuration: Configuration, files: HostFiles = HostFiles(), log: Logger, start: Int64,
    remedy: @escaping @Sendable (FunctionWarning.Reason) -> String?,
    advice: @escaping @Sendable (ControlError) -> String
  ) throws(RunError) {
    self.configuration = configuration
    self.advice = advice
    self.files = files
    StandardError.stopWaiting()
    var sandbox: ThreadSandbox?
    if configuration.layers.contains(.seccomp) {
      try step(RunError.kernel) { () throws(KernelError) in try ProcessSandbox.prepare() }
      sandbox = try step(RunError.sandbox) { () throws(SandboxError) in
        try ThreadSandbox(.trace, rules: Rule.machine(nil))
      }
    }
    let hasControl = configuration.control != nil || files.has(.control)
    do throws(KernelError) {
      // Opening a FIFO waits for its reader. Until then, signals end the process.
      try Thread.unblockSignals()
      try files.connectConsole()
      let service = Self.serviceManager(files, log)
      eventLog = try EventLog(
        log: log, trace: configuration.trace, file: files.take(.trace), start: start, service: service,
        feed: hasControl ? try EventFeed() : nil, remedy: remedy
      ) {
        [sandbox] () throws(KernelError) in try sandbox?.enter()
      }
      shutdown = try ShutdownRequest()
    } catch { throw .kernel(error) }
    // Nothing fails after this, so that no socket's file remains.
    socket = try step(RunError.control) { () throws(ControlProblem) in
      if let passed = files.take(.control) { return try ControlSocket(passed) }
      return try configuration.control.map { path throws(ControlProblem) in try ControlSocket(path: path) }
    }
  }

  /// Returns the service manager: the socket that was passed, or the socket that the environment names.
  private static func serviceManager(_ files: HostFiles, _ log: Logger) -> ServiceManager? {
    if let socket = files.take(.notify) { return ServiceManager(socket) }
    do throws(KernelError) { return try .connect() } catch {
      log.warning("\(error)")
      return nil
    }
  }

  /// Starts the VM, waits for its end and returns the devices to the host.
  ///
  /// - Parameter report: Called with each failure that is not the outcome.
  /// - Returns: The outcome. The trace is complete unless a failure reports otherwise.
  public func run(report: (RunError) -> Void) throws(RunError) -> Outcome {
    do throws(RunError) { return try execute(MixedBackend.self, report) } catch {
      eventLog.trace?.finish()
      socket?.removeFile()
      throw error
    }
  }

  /// Runs the VM with a backend until it ends.
  private func execute<B: HostBackend>(
    _ backend: B.Type, _ report: (RunError) -> Void
  ) throws(RunError) -> Outcome {
    eventLog.phase("program-started")
    // A refused limit may be enough for this VM.
    do throws(KernelError) { try DescriptorLimit.raise() } catch { eventLog.log.warning("\(error)") }
    do throws(KernelError) { try MemoryLockLimit.raise() } catch { eventLog.log.warning("\(error)") }
    let connector = try connector()
    let output = StandardOutput()
    let builder = try MachineBuilder<B>(
      configuration, files: files, eventLog: eventLog, output: output.write)
    let signals = try step(RunError.kernel) { () throws(KernelError) in
      // From here on, signals arrive through the event loop. A closed pipe no longer ends the process.
      let signals = try SignalFD()
      try Thread.installKick()
      try FaultTolerantAccess.install(
        failureStatus: Outcome.failureStatus(hasDebugExit: configuration.hasDebugExit))
      return signals
    }
    let overflow = User.overflowID
    let states = try confine()
    let control = try server(overflow: overflow, states)
    let vm = try VM(
      builder, configuration, eventLog: eventLog, shutdown: shutdown, control: control,
      connector: connector)
    let terminal = Terminal()
    do throws(KernelError) {
      var supervisor = try Supervisor(
        vm, shutdown: shutdown, signals: signals, input: 0, output: output.stream,
        isTerminal: terminal != nil,
        stopTimeout: configuration.stopTimeout, exchange: control?.exchange)
      try supervisor.run()
    } catch { shutdown.end(.failure(.mainThread(error))) }
    return finish(vm, output, terminal, report)
  }

  /// Returns the process that connects to devices again, or nil if no device needs it. The process shares no memory and no
  /// file with the VM, because nothing is open yet.
  private func connector() throws(RunError) -> Connector? {
    let paths = configuration.devices.filter { $0.reconnect != nil }.compactMap(\.address.path)
    return try paths.isEmpty
      ? nil : Connector(paths, isConfined: configuration.layers.contains(.seccomp))
  }

  /// Enters the layers of confinement. Everything is open, and the process has a single thread.
  private func confine() throws(RunError) -> [LayerState] {
    let states = try step(RunError.sandbox) { () throws(SandboxError) in
      try ProcessSandbox.enter(configuration.layers)
    }
    eventLog.note(states)
    eventLog.phase("confined")
    try step(RunError.kernel) { () throws(KernelError) in try eventLog.startTrace() }
    return states
  }

  /// Returns the server of the control socket, or nil if the VM has none.
  ///
  /// - Parameters:
  ///   - overflow: The ID that the kernel shows for a user without an ID in the VM's user namespace.
  ///   - states: The state of each layer of confinement.
  private func server(overflow: UInt32, _ states: [LayerState]) throws(RunError) -> ControlServer? {
    guard let socket, let feed = eventLog.feed else { return nil }
    let peers = ControlPeers(
      user: User.currentID, overflow: overflow,
      isInOwnNamespace: states.contains { $0.layer == .namespaces && $0.obstacle == nil })
    let log = eventLog.log
    return try step(RunError.kernel) { () throws(KernelError) in
      try ControlServer(socket, peers: peers, feed: feed, advice: advice) { log.warning("\($0)") }
    }
  }

  /// Stops the VM, restores the terminal, returns the devices to the host, and completes the summary and the
  /// trace.
  private func finish(
    _ vm: VM<some HostBackend>, _ output: StandardOutput, _ terminal: Terminal?, _ report: (RunError) -> Void
  ) -> Outcome {
    var outcome = shutdown.outcome ?? .quit
    if outcome.isRequested { eventLog.trace?.requestStop() }
    eventLog.guestEnds(outcome)
    vm.stop()
    if !outcome.isRequested { output.drain(vm.serial) }
    terminal?.restore()
    for failure in vm.release() { add(.release(failure), to: &outcome, report) }
    eventLog.phase("devices-handed-back")
    vm.endControl()
    if configuration.printsSummary {
      StandardError.write(
        eventLog.summary(vm.status.functions, outcome: outcome),
        timeout: outcome.isRequested ? 0 : 1000)
    }
    if let trace = eventLog.trace {
      trace.finish()
      if let (error, lost) = trace.failure {
        add(.trace(path: trace.path, error, lost: lost), to: &outcome, report)
      }
    }
    return outcome
  }

  /// Sets the outcome to a failure. If the outcome is already a failure, reports the new failure instead.
  private func add(_ failure: RunError, to outcome: inout Outcome, _ report: (RunError) -> Void) {
    if case .failure = outcome { report(failure) } else { outcome = .failure(failure) }
  }
}
