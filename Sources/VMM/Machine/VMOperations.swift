// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Passthrough

/// The operations on a running VM that signals and clients of the control socket request. The main thread performs them.
struct VMOperations<B: HostBackend> {
  private let vm: VM<B>
  private let shutdown: ShutdownRequest
  /// The operations of the control socket, or nil.
  private let exchange: ControlExchange?
  /// The outcome if the guest has not powered off at the deadline.
  private var lateOutcome = Outcome.quit
  /// The time on the clock at which the VM ends, after its power button has been pressed, or nil.
  private(set) var deadline: Int64?

  private var queue: HotplugQueue<B> { vm.builder.hotplugQueue }

  init(_ vm: VM<B>, shutdown: ShutdownRequest, exchange: ControlExchange?) {
    (self.vm, self.shutdown, self.exchange) = (vm, shutdown, exchange)
  }

  /// Performs the operations that clients have requested, until one of them ends the VM.
  mutating func perform() throws(KernelError) {
    guard let exchange else { return }
    try exchange.forMain.take()
    while !shutdown.isOver, let request = exchange.next() {
      do throws(ControlError) {
        if let fields = try perform(request) { exchange.complete(request, .success(fields)) }
      } catch { exchange.complete(request, .failure(error)) }
    }
  }

  /// Performs an operation.
  ///
  /// - Returns: The fields of the reply, or nil if the operation has not ended.
  private mutating func perform(_ request: ControlExchange.Request) throws(ControlError) -> ControlFields? {
    switch request.operation {
    case .remove(let device, let seconds):
      let function = try vm.member(device, .remove)
      guard let port = vm.port(of: function) else {
        try vm.remove(function, within: seconds)
        break
      }
      queue.add(.removal(request, function, slot: port.slot))
      try vm.remove(function, within: seconds)
      return nil
    case .add, .replace:
      guard !vm.ports.isEmpty else { throw .noPorts(request.operation.verb) }
      queue.add(.addition(request))
      return nil
    case .inject(let device, let error): try vm.inject(error, device)
    case .stop(nil): shutdown.end(.quit)
    case .stop(let seconds?): pressPowerButton(Int64(seconds) * 1_000_000, .quit)
    }
    return ControlFields()
  }

  /// Presses the guest's power button.
  ///
  /// - Parameters:
  ///   - time: The time in microseconds that the guest gets to power off.
  ///   - outcome: The outcome if the guest has not powered off within the time.
  mutating func pressPowerButton(_ time: Int64, _ outcome: Outcome) {
    (deadline, lateOutcome) = (Clock.microseconds() + time, outcome)
    vm.pressPowerButton(within: time)
  }

  /// Ends the VM if the guest's time to power off is over, and lets the ports act that have a deadline.
  func act() {
    let now = Clock.microseconds()
    if let deadline, now >= deadline { shutdown.end(lateOutcome) }
    vm.act(at: now)
  }

  /// The time in milliseconds until ``act()`` is due, or nil.
  var timeLeft: Int32? {
    // Rounded up, so that the deadline is over after the wait.
    [deadline, vm.deadline].compactMap(\.self).min().map {
      Int32(clamping: max(0, $0 - Clock.microseconds() + 999) / 1000)
    }
  }
}
