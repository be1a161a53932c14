// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
internal import PCI
internal import Seams
internal import Trace

/// The effects of the gate: changes of memory slots and I/O addresses, and the write to the device.
extension FunctionState {
  /// Passes an event to the gate and performs its effects.
  ///
  /// - Parameters:
  ///   - event: The event for the gate.
  ///   - reason: The cause of the windows' changes, for the trace.
  ///   - apply: The event's write to the device.
  /// - Throws: The cause if a mapping could not be removed. The device must not be written then.
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
      case .readBack: result = isMemoryBitSet
      case .addSlot(let span): result = addSlot(span)
      case .addIOVA(let span, let trigger): addIOVA(span, trigger)
      case .changed(let window, let from, let to):
        if from == .closed { windows[window].refusedAt = nil }
        if from == .open {
          closed = true
          statistics.closes += 1
        }
        emit(.gate(windowSpan(window, from: from), from: from, to: to, reason), since: start)
      }
    }
    if closed { context.generation.advance() }
    if gate.isOpeningDue {
      openingReason = reason
      opening.request()
    }
  }

  /// Allows new slots for a BAR's windows after a refusal, because the BAR gets another address.
  private mutating func allowSlots(bar: Int) {
    for window in windows.indices where windows[window].bar == bar { windows[window].refusedAt = nil }
  }

  private func windowSpan(_ window: Int, from: Gate.State) -> FunctionEvent.WindowSpan {
    windowSpan(window..<window + 1, at: from == .open ? windows[window].mappedAt : address(window))
  }

  private func windowSpan(_ span: Range<Int>, at address: UInt64) -> FunctionEvent.WindowSpan {
    .init(
      bar: windows[span.lowerBound].bar, window: span.lowerBound, windows: span.count, address: address,
      size: size(span))
  }

  /// Returns the size of adjoining windows in bytes.
  private func size(_ span: Range<Int>) -> UInt64 {
    var size: UInt64 = 0
    for window in span { size += windows[window].size }
    return size
  }

  /// Returns the GPA of a window, from the BAR's register.
  func address(_ window: Int) -> UInt64 {
    let (index, offset) = (windows[window].bar, windows[window].offset)
    guard let bar = config.bars.first(where: { $0.index == index }) else { return 0 }
    return config.base(of: bar) &+ offset
  }

  private mutating func removeSlots(_ span: Range<Int>) throws(OperationError) {
    for window in span {
      guard let slot = windows[window].slot else { continue }
      do throws(OperationError) {
        try retrying { () throws(OperationError) in try context.machine.removeSlot(slot) }
      } catch {
        // KVM refuses every call for a dead VM (kvm_vm_dead).
        guard hasStopped else { throw error }
        warn(.slot, "memory slot not removed at the end of the VM: \(error)")
      }
      windows[window].slot = nil
    }
  }

  /// Tries a removal up to three times, because a window must not close for the guest and stay mapped. The
  /// kernel refuses a removal if it lacks memory (ENOMEM: virt/kvm/kvm_main.c, kvm_set_memslot).
  private func retrying(_ remove: () throws(OperationError) -> Void) throws(OperationError) {
    for _ in 0..<2 { do throws(OperationError) { return try remove() } catch {} }
    try remove()
  }

  /// Unmaps adjoining windows together, even if they were mapped one by one. The kernel removes every mapping
  /// of the range.
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
        emit(.peer(.unmap, windowSpan(mapped, at: address), space: space), since: start)
      }
    }
  }

  /// Returns the first part of a span whose windows are all mapped in a space, or nil if no window is mapped
  /// there. If `isMapped` is false, returns the first part whose windows are all unmapped, or nil.
  private func part(of span: Range<Int>, isMapped: Bool, in space: Int) -> Range<Int>? {
    var first = span.lowerBound
    while first < span.upperBound, (windows[first].ioAddresses[space] != nil) != isMapped { first += 1 }
    guard first < span.upperBound else { return nil }
    var end = first + 1
    while end < span.upperBound, (windows[end].ioAddresses[space] != nil) == isMapped { end += 1 }
    return first..<end
  }

  /// True if windows can be mapped at an address: the address is page-aligned, and no other BAR shares the
  /// pages. Otherwise every access is trapped.
  func hasOwnPages(_ span: Range<Int>, at base: UInt64) -> Bool {
    base % WindowCuts.page == 0 && !context.decoder.isShared(base, size: size(span))
  }

  // Not `mutating`: the state is borrowed, so that no reference is retained.
  private func newSlot(_ span: Range<Int>, at base: UInt64) throws(OperationError) -> UInt32 {
    try context.machine.addSlot(at: base, size: size(span), host: windows[span.lowerBound].host)
  }

  private mutating func addSlot(_ span: Range<Int>) -> Bool {
    let first = span.lowerBound
    let base = address(first)
    guard hasOwnPages(span, at: base) else { return false }
    do throws(OperationError) { windows[first].slot = try newSlot(span, at: base) } catch {
      // The guest has placed the BAR over something else, or no slot is free. Every access stays trapped and
      // remains correct. If several windows failed, the gate tries a single window next.
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
        // Retry one window at a time, so that one failure does not affect the rest.
        if missing.count > 1 { for window in missing { _ = map(window..<window + 1, in: space) } }
      }
    }
  }

  /// Returns the memory of adjoining windows, in the form that a space maps.
  private func memory(_ span: Range<Int>, in space: Int) throws(OperationError) -> WindowMemory {
    let (bar, offset, host) = (
      windows[span.lowerBound].bar, windows[span.lowerBound].offset, windows[span.lowerBound].host
    )
    guard context.dma.needsDMABuffers(in: space) else { return .host(host) }
    return .dmaBuffer(try device.dmaBuffer(bar, offset..<offset + size(span)))
  }

  /// Maps adjoining windows for the devices of a space. Returns false if they share a page with another BAR or
  /// if the mapping fails. The failure for a single window is logged.
  private mutating func map(_ span: Range<Int>, in space: Int) -> Bool {
    let first = span.lowerBound
    let base = address(first)
    guard hasOwnPages(span, at: base) else { return false }
    let start = Clock.microseconds()
    do throws(OperationError) {
      try context.dma.map(windows: base, size: size(span), memory: memory(span, in: space), in: space)
    } catch {
      if span.count == 1 {
        let range = DMARange.text(base, base &+ (size(span) - 1))
        let (bar, peers) = (windows[first].bar, context.dma.peers(in: space, of: device.address))
        warn(.address, "\(peers) cannot reach BAR \(bar) at \(range): \(error)")
      }
      return false
    }
    for window in span { windows[window].ioAddresses[space] = address(window) }
    emit(.peer(.map, windowSpan(span, at: base), space: space), since: start)
    return true
  }
}
