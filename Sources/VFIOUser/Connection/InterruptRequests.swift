// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// Requests about interrupts (DEVICE_SET_IRQS). An index is VFIO_PCI_*_IRQ_INDEX.
extension Connection {
  /// The maximum number of descriptors of a message to the server.
  var descriptorLimit: Int {
    let most = min(server.messageDescriptors, configuration.capabilities.messageDescriptors)
    return max(1, min(Int(clamping: most), MessageSocket.mostDescriptors))
  }

  /// Sets the eventfds of consecutive vectors, in as many messages as the negotiated number of descriptors requires. If
  /// a message fails, the vectors of earlier messages have their eventfds.
  ///
  /// - Parameters:
  ///   - index: The kind of interrupt.
  ///   - start: The first vector.
  ///   - events: The eventfds, which stay open here.
  public func setTriggers(_ index: UInt32, start: UInt32, events: [Int32]) throws(ConnectionError) {
    try set(.trigger, index, start, events)
  }

  /// Sets the eventfd that unmasks INTx.
  public func setUnmask(_ index: UInt32, event: Int32) throws(ConnectionError) {
    try set(.unmask, index, 0, [event])
  }

  private func set(
    _ action: IRQSet.Action, _ index: UInt32, _ start: UInt32, _ events: [Int32]
  ) throws(ConnectionError) {
    var first = start
    var rest = events[...]
    while !rest.isEmpty {
      let batch = rest.prefix(descriptorLimit)
      let body = IRQSet(
        action: action, data: .eventfds, index: index, start: first, count: UInt32(batch.count))
      try requestWithoutBody(.setIRQs, body.encoded, descriptors: Array(batch))
      first += UInt32(batch.count)
      rest = rest.dropFirst(batch.count)
    }
  }

  /// Removes the eventfds of consecutive vectors.
  public func removeTriggers(_ index: UInt32, start: UInt32, count: UInt32) throws(ConnectionError) {
    try send(IRQSet(action: .trigger, data: .eventfds, index: index, start: start, count: count))
  }

  /// Disables a kind of interrupt.
  public func disableInterrupts(_ index: UInt32) throws(ConnectionError) {
    try send(IRQSet(action: .trigger, data: .none, index: index, start: 0, count: 0))
  }

  /// Masks or unmasks a vector.
  public func setMask(_ index: UInt32, vector: UInt32, isMasked: Bool) throws(ConnectionError) {
    try send(
      IRQSet(action: isMasked ? .mask : .unmask, data: .none, index: index, start: vector, count: 1))
  }

  /// Signals the eventfds of consecutive vectors, as the device would.
  public func signal(_ index: UInt32, start: UInt32, count: UInt32) throws(ConnectionError) {
    try send(IRQSet(action: .trigger, data: .none, index: index, start: start, count: count))
  }

  private func send(_ set: IRQSet) throws(ConnectionError) {
    try requestWithoutBody(.setIRQs, set.encoded)
  }
}
