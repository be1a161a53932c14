// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
internal import PCI
internal import Seams
internal import Trace

/// What the gate says, done: memory slots, I/O addresses, and the write to the device between them.
extension FunctionState {
  /// Runs an event through the gate and does what it says.
  ///
  /// - Parameter apply: The write to the device that the event is about.
  /// - Throws: When a mapping could not be taken away: then the device must not be written.
  mutating func apply(
    _ event: Gate.Event, _ reason: TraceEvent.WindowReason, apply: (inout FunctionState) -> Void = { _ in }
  ) throws(OperationError) {
    let start = Clock.microseconds()
    if case .move(let bar) = event { allowSlots(bar: bar) }
    var closed = false
    gate.begin(event)
    defer { gate.end() }
    var result = true
    while let effect = gate.next(result) {
      result = true
      switch effect {
      case .removeSlots(let span): try removeSlots(span)
      case .removeIOVAs(let span): try removeIOVAs(span)
      case .apply: apply(&self)
      case .readBack: result = isAnswering
      case .addSlot(let span): result = addSlot(span)
      case .addIOVA(let span, let trigger): addIOVA(span, trigger)
      case .changed(let window, let from, let to):
        if from == .closed { windows[window].refusedAt = nil }
        if from == .open {
          closed = true
          statistics.closes += 1
        }
        emit(.gate(place(window, from: from), from: from, to: to, reason), since: start)
      }
    }
    if closed { context.generation.advance() }
    if gate.isOpeningDue {
      openingReason = reason
      opening.request()
    }
  }

  /// Lets a BAR's windows ask for slots again: it gets another address.
  private mutating func allowSlots(bar: Int) {
    for window in windows.indices where windows[window].bar == bar { windows[window].refusedAt = nil }
  }

  private func place(_ window: Int, from: Gate.State) -> FunctionEvent.WindowSpan {
    place(window..<window + 1, at: from == .open ? windows[window].mappedAt : address(window))
  }

  private func place(_ span: Range<Int>, at address: UInt64) -> FunctionEvent.WindowSpan {
    .init(
      bar: windows[span.lowerBound].bar, window: span.lowerBound, windows: span.count, address: address,
      size: size(span))
  }

  /// Bytes of neighbouring windows.
  private func size(_ span: Range<Int>) -> UInt64 {
    var size: UInt64 = 0
    for window in span { size += windows[window].size }
    return size
  }

  /// The guest-physical address of a window, by the BAR's register.
  func address(_ window: Int) -> UInt64 {
    let one = windows[window]
    guard let bar = config.bars.first(where: { $0.index == one.bar }) else { return 0 }
    return config.base(of: bar) &+ one.offset
  }

  private mutating func removeSlots(_ span: Range<Int>) throws(OperationError) {
    for window in span {
      guard let slot = windows[window].slot else { continue }
      do throws(OperationError) {
        try retrying { () throws(OperationError) in try context.machine.removeSlot(slot) }
      } catch {
        // A machine that KVM has given up (kvm_vm_dead) refuses every call.
        guard hasStopped else { throw error }
        warn(.slot, "at the end of the VM: \(error)")
      }
      windows[window].slot = nil
    }
  }

  /// Tries a removal again, because a window must not close for the guest and stay mapped. The kernel refuses one for
  /// want of memory (ENOMEM: virt/kvm/kvm_main.c, kvm_set_memslot).
  private func retrying(_ remove: () throws(OperationError) -> Void) throws(OperationError) {
    for _ in 0..<2 { do throws(OperationError) { return try remove() } catch {} }
    try remove()
  }

  /// Takes neighbours away together, however they were mapped: the kernel finds what is in a range.
  private mutating func removeIOVAs(_ span: Range<Int>) throws(OperationError) {
    for space in configuration.peers.indices {
      var next = span.lowerBound
      while let mapped = part(of: next..<span.upperBound, isMapped: true, in: space) {
        next = mapped.upperBound
        guard let address = windows[mapped.lowerBound].ioAddresses[space] else { continue }
        let start = Clock.microseconds()
        let size = size(mapped)
        try retrying { () throws(OperationError) in
          try context.dma.unmap(windows: address, size: size, in: space)
        }
        for window in mapped { windows[window].ioAddresses[space] = nil }
        emit(.peer(.unmap, place(mapped, at: address), space: space), since: start)
      }
    }
  }

  /// The first windows in a run that follow each other and are mapped in a space, or are not.
  private func part(of span: Range<Int>, isMapped: Bool, in space: Int) -> Range<Int>? {
    var first = span.lowerBound
    while first < span.upperBound, (windows[first].ioAddresses[space] != nil) != isMapped { first += 1 }
    guard first < span.upperBound else { return nil }
    var end = first + 1
    while end < span.upperBound, (windows[end].ioAddresses[space] != nil) == isMapped { end += 1 }
    return first..<end
  }

  /// True if windows can be mapped at an address: whole pages of the guest in which no other BAR is. Else every access
  /// is trapped.
  func hasOwnPages(_ span: Range<Int>, at base: UInt64) -> Bool {
    base % WindowCuts.page == 0 && !context.decoder.isShared(base, size: size(span))
  }

  // Not 'mutating': the state is borrowed, so that no reference is counted.
  private func newSlot(_ span: Range<Int>, at base: UInt64) throws(OperationError) -> UInt32 {
    try context.machine.addSlot(at: base, size: size(span), host: windows[span.lowerBound].host)
  }

  private mutating func addSlot(_ span: Range<Int>) -> Bool {
    let first = span.lowerBound
    let base = address(first)
    guard hasOwnPages(span, at: base) else { return false }
    do throws(OperationError) { windows[first].slot = try newSlot(span, at: base) } catch {
      // The guest has put the BAR where something else is, or the slots are used up: every
      // access goes on being trapped and is right all the same. Of several windows one is tried next.
      if span.count == 1 {
        windows[first].refusedAt = context.generation.current
        let bar = windows[first].bar
        warn(.slot, "BAR \(bar) window \(first) stays trapped: \(error)")
      }
      return false
    }
    statistics.slotsAdded += 1
    for window in span { noteOpen(window) }
    return true
  }

  private mutating func noteOpen(_ window: Int) {
    windows[window].mappedAt = address(window)
    guard !windows[window].hasEverOpened else { return }
    windows[window].hasEverOpened = true
    statistics.windowsOpened += 1
    statistics.bytesMapped += windows[window].size
  }

  private mutating func addIOVA(_ span: Range<Int>, _ trigger: Gate.MapTrigger) {
    for space in configuration.peers.indices where configuration.peers[space].includes(trigger) {
      var next = span.lowerBound
      while let missing = part(of: next..<span.upperBound, isMapped: false, in: space) {
        next = missing.upperBound
        if map(missing, in: space) { continue }
        // All but what cannot be reached is.
        if missing.count > 1 { for window in missing { _ = map(window..<window + 1, in: space) } }
      }
    }
  }

  /// Maps windows that follow each other for the devices of a space; false, and told for a single one, where
  /// that fails.
  private mutating func map(_ span: Range<Int>, in space: Int) -> Bool {
    let first = span.lowerBound
    let base = address(first)
    guard hasOwnPages(span, at: base) else { return false }
    let start = Clock.microseconds()
    do throws(OperationError) {
      try context.dma.map(windows: base, size: size(span), host: windows[first].host, in: space)
    } catch {
      if span.count == 1 {
        let range = DMARange.text(base, base &+ (size(span) - 1))
        let (bar, peers) = (windows[first].bar, context.dma.peers(in: space, of: device.address))
        warn(.address, "\(peers) cannot reach its BAR \(bar) at \(range): \(error)")
      }
      return false
    }
    for window in span { windows[window].ioAddresses[space] = address(window) }
    emit(.peer(.map, place(span, at: base), space: space), since: start)
    return true
  }
}
