// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Passthrough

/// The main thread of a VM. It serves the console, signals, device notifications and operations of the control socket until
/// the VM ends.
struct Supervisor<B: HostBackend>: ~Copyable {
  private let vm: VM<B>
  private let shutdown: ShutdownRequest
  private let signals: SignalFD
  private let output: Output
  private let loop: Epoll
  private var console: Console
  private var operations: VMOperations<B>
  /// The time in microseconds that the guest gets to power off after SIGTERM, or nil if SIGTERM ends the VM at once.
  private let stopTimeout: Int64?

  /// The interval in milliseconds at which a background console checks whether it is in the foreground. No
  /// signal reports this change.
  private static var backgroundInterval: Int32 { 500 }

  /// Creates an event loop that watches all sources of the main thread.
  ///
  /// - Parameters:
  ///   - vm: The VM. It has not started.
  ///   - shutdown: The request that ends the event loop.
  ///   - signals: The descriptor of the process's signals.
  ///   - input: The descriptor of console input.
  ///   - output: The output of the console.
  ///   - isTerminal: True if `input` is the process's terminal.
  ///   - stopTimeout: The time in seconds that the guest gets to power off after SIGTERM, or nil.
  ///   - exchange: The operations of the control socket, or nil.
  init(
    _ vm: VM<B>, shutdown: ShutdownRequest, signals: consuming SignalFD, input: Int32, output: Output,
    isTerminal: Bool, stopTimeout: Int? = nil, exchange: ControlExchange? = nil
  ) throws(KernelError) {
    self.stopTimeout = stopTimeout.map { Int64($0) * 1_000_000 }
    self.vm = vm
    self.shutdown = shutdown
    operations = VMOperations(vm, shutdown: shutdown, exchange: exchange)
    self.output = output
    console = Console(serial: vm.serial, isTerminal: isTerminal, input: input, output: output.number)
    let loop = try Epoll()
    try signals.watch(loop, as: EventSource.signals.rawValue)
    var sources: [(number: Int32, EventSource)] = [
      (vm.serial.room.number, .serialRoom), (vm.serial.backlog.number, .serialBacklog),
      (shutdown.number, .shutdown), (vm.population.arrival.number, .arrivals),
    ]
    for port in vm.ports { sources.append((port.resample, .portPin(port.index))) }
    if let exchange { sources.append((exchange.forMain.number, .control)) }
    for (index, function) in vm.functions.enumerated() { sources += Self.notifications(index, function) }
    for (number, source) in sources { try loop.watch(number, as: source.rawValue) }
    self.signals = signals
    self.loop = loop
  }

  /// Returns the sources of a function with a number.
  private static func notifications(
    _ number: Int, _ function: AssignedFunction<B>
  ) -> [(number: Int32, EventSource)] {
    DeviceNotification.allCases.map { (function.number(of: $0), .notification($0, number)) }
  }

  /// Starts the guest and serves the event loop until the VM ends.
  mutating func run() throws(KernelError) {
    try console.watch(loop)
    if try console.refill() { shutdown.end(.quit) }
    try vm.start()
    while !shutdown.isOver {
      let token = try loop.next(within: timeout)
      // Events that never end delay no deadline.
      if operations.timeLeft == 0 { operations.act() }
      guard let token else {
        if console.isInBackground { console.takeTerminal() }
        try console.watch(loop)
        continue
      }
      if let source = EventSource(rawValue: token) { try serve(source) }
      try console.watch(loop)
    }
  }

  /// The time in milliseconds until the loop has to act without an event, or -1.
  private var timeout: Int32 {
    let timeouts = [console.isInBackground ? Self.backgroundInterval : nil, operations.timeLeft]
    return timeouts.compactMap(\.self).min() ?? -1
  }

  /// Ends the VM for a signal. With a time for the guest, the first SIGTERM presses the power button instead.
  private mutating func stop(_ signal: Int32) {
    guard signal == SignalFD.terminate, let stopTimeout, operations.deadline == nil else {
      return shutdown.end(.signal(signal))
    }
    operations.pressPowerButton(stopTimeout, .signal(signal))
  }

  private mutating func serve(_ source: EventSource) throws(KernelError) {
    switch source {
    case .shutdown: break
    case .signals:
      while let effect = try signals.next() {
        switch effect {
        case .end(let signal): stop(signal)
        case .resumed: console.takeTerminal()
        case .none: break
        }
      }
    case .serialRoom:
      try vm.serial.room.take()
      if try console.refill() { shutdown.end(.quit) }
    case .serialBacklog:
      try vm.serial.backlog.take()
      try console.send(loop)
    case .output: try console.send(loop)
    case .arrivals:
      for (number, function) in try vm.population.takeArrivals() {
        for (file, source) in Self.notifications(number, function) {
          try loop.watch(file, as: source.rawValue)
        }
      }
    case .portPin(let port): vm.ports[port].endOfInterrupt()
    case .input: if try console.transfer() { shutdown.end(.quit) }
    case .control: try operations.perform()
    case .notification(let notification, let function): vm.handle(notification, of: function)
    }
  }
}
