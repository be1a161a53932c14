// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Passthrough
internal import Trace

/// The events of functions in the words of a trace.
extension TraceEvent {
  /// Translates an event of a function.
  init(_ device: String, _ event: FunctionEvent, microseconds: Int64) {
    switch event {
    case .gate(let place, let from, let to, let reason):
      self = .gate(
        Window(device, place), from: WindowState(from), to: WindowState(to), why: WindowReason(reason),
        microseconds: microseconds)
    case .command(let old, let new):
      self = .command(device: device, old: old, new: new, microseconds: microseconds)
    case .peerDMA(let place, let space, let isMapped):
      self = .peer(
        isMapped ? .map : .unmap, first: Window(device, place), windows: place.windows, container: space,
        microseconds: microseconds)
    case .interrupts(let mode, let count):
      self = .interrupts(
        device: device, mode: InterruptMode(mode), vectors: count, microseconds: microseconds)
    case .vector(let vector, let change):
      self = .vector(device: device, vector: vector, VectorOperation(change), microseconds: microseconds)
    case .reset(let why, let withBus):
      self = .reset(
        device: device, why: ResetReason(why), withBus ? .bus : .function, microseconds: microseconds)
    case .lost(let state):
      self = .loss(device: device, DeviceState(state), microseconds: microseconds)
    case .warning(let text): self = .warning(device: device, text: text)
    }
  }
}

extension TraceEvent.Window {
  fileprivate init(_ device: String, _ place: FunctionEvent.Place) {
    self.init(
      device: device, bar: place.bar, index: place.window, address: place.address, size: place.size)
  }
}

extension TraceEvent.WindowState {
  fileprivate init(_ state: Gate.State) {
    self =
      switch state {
      case .closed: .closed
      case .armed: .armed
      case .open: .open
      }
  }
}

extension TraceEvent.WindowReason {
  fileprivate init(_ reason: FunctionEvent.Reason) {
    self =
      switch reason {
      case .access: .access
      case .command: .command
      case .move: .move
      case .power: .power
      case .reset: .reset
      case .fault: .fault
      case .shutdown: .shutdown
      case .error: .error
      case .release: .release
      }
  }
}

extension TraceEvent.InterruptMode {
  fileprivate init(_ mode: Passthrough.InterruptMode) {
    self =
      switch mode {
      case .none: .none
      case .intx: .intx
      case .msi: .msi
      case .msix: .msix
      }
  }
}

extension TraceEvent.VectorOperation {
  fileprivate init(_ change: VectorChange) {
    self =
      switch change {
      case .allocate: .allocate
      case .unmask: .unmask
      case .mask: .mask
      case .route: .route
      }
  }
}

extension TraceEvent.ResetReason {
  fileprivate init(_ reason: Passthrough.ResetReason) {
    self =
      switch reason {
      case .start: .start
      case .flr: .flr
      case .power: .power
      case .handBack: .handBack
      }
  }
}

extension TraceEvent.DeviceState {
  fileprivate init(_ loss: Loss) {
    self =
      switch loss {
      case .isolated: .isolated
      case .released: .released
      }
  }
}
