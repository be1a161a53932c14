// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import KVM
internal import Linux
internal import PCI
internal import VFIO

/// What the gate says, done: memory slots, I/O addresses, and the write to the device between them.
extension FunctionState: GateKeeper {
  /// Runs an event through the gate and does what it says.
  ///
  /// - Parameter apply: The write to the device that the event is about.
  /// - Throws: When a mapping could not be taken away: then the device must not be written.
  mutating func pass(
    _ event: Gate.Event, _ reason: FunctionEvent.Reason, apply: (inout FunctionState) -> Void = { _ in }
  ) throws(KernelError) {
    let start = Clock.microseconds()
    var closed = false
    try handle(event) { state, effect throws(KernelError) in
      switch effect {
      case .removeSlot(let window): try state.removeSlot(window)
      case .removeIOVA(let window): try state.removeIOVA(window)
      case .apply: apply(&state)
      case .readBack: return state.isAnswering
      case .addSlot(let window): return state.addSlot(window)
      case .addIOVA(let window, let moment): state.addIOVA(window, moment)
      case .changed(let window, let from, let to):
        if from == .open {
          closed = true
          state.statistics.closes += 1
        }
        state.tell(.gate(state.place(window, from: from), from: from, to: to, reason), since: start)
      }
      return true
    }
    if closed { host.generation.advance() }
  }

  private func place(_ window: Int, from: Gate.State) -> FunctionEvent.Place {
    place(window, at: from == .open ? windows[window].mappedAt : address(window))
  }

  private func place(_ window: Int, at address: UInt64) -> FunctionEvent.Place {
    .init(bar: windows[window].bar, window: window, address: address, size: windows[window].size)
  }

  /// The guest-physical address of a window, by the BAR's register.
  private func address(_ window: Int) -> UInt64 {
    let one = windows[window]
    guard let bar = config.bars.first(where: { $0.index == one.bar }) else { return 0 }
    return config.base(of: bar) &+ one.offset
  }

  private mutating func removeSlot(_ window: Int) throws(KernelError) {
    guard let slot = windows[window].slot else { return }
    try host.slots.remove(slot)
    windows[window].slot = nil
  }

  private mutating func removeIOVA(_ window: Int) throws(KernelError) {
    for space in assignment.peers.indices {
      guard let address = windows[window].ioAddresses[space] else { continue }
      let start = Clock.microseconds()
      try host.dma.unmap(window: address, size: windows[window].size, in: space)
      windows[window].ioAddresses[space] = nil
      tell(.peerDMA(place(window, at: address), space: space, isMapped: false), since: start)
    }
  }

  private mutating func addSlot(_ window: Int) -> Bool {
    let base = address(window)
    do throws(KernelError) {
      windows[window].slot = try host.slots.add(
        at: .init(base), size: windows[window].size, host: windows[window].host)
    } catch {
      // The guest has put the BAR where something else is, or the slots are used up: every
      // access goes on being trapped and is right all the same.
      if !windows[window].isToldTrapped {
        windows[window].isToldTrapped = true
        warn("BAR \(windows[window].bar) window \(window) stays trapped: \(error)")
      }
      return false
    }
    windows[window].mappedAt = base
    if !windows[window].wasOpened {
      windows[window].wasOpened = true
      statistics.windowsOpened += 1
      statistics.bytesMapped += windows[window].size
    }
    return true
  }

  private mutating func addIOVA(_ window: Int, _ moment: Gate.Moment) {
    let base = address(window)
    for space in assignment.peers.indices {
      guard assignment.peers[space].includes(moment), windows[window].ioAddresses[space] == nil
      else { continue }
      let start = Clock.microseconds()
      let size = windows[window].size
      do throws(KernelError) {
        try host.dma.map(window: base, size: size, host: windows[window].host, in: space)
        windows[window].ioAddresses[space] = base
        tell(.peerDMA(place(window, at: base), space: space, isMapped: true), since: start)
      } catch {
        guard !windows[window].isToldUnreachable else { continue }
        windows[window].isToldUnreachable = true
        let range = DMAMapper.text(base, base &+ (size - 1))
        warn(
          "\(host.dma.peers(in: space, of: device.address)) cannot reach its BAR \(windows[window].bar) at "
            + "\(range): \(error)")
      }
    }
  }
}
