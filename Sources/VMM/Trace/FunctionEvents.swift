// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Passthrough
internal import Trace

/// The conversion of a function's events to trace events.
extension TraceEvent {
  /// Creates a trace event from a function's event and its device's address.
  init(_ device: String, _ event: FunctionEvent, microseconds: Int64) {
    switch event {
    case .gate(let span, let from, let to, let reason):
      self = .gate(
        Window(device, span), from: WindowState(from), to: WindowState(to), why: reason,
        microseconds: microseconds)
    case .command(let old, let new):
      self = .command(device: device, old: old, new: new, microseconds: microseconds)
    case .peer(let operation, let span, let space):
      self = .peer(
        operation, first: Window(device, span), windows: span.windows, container: space,
        microseconds: microseconds)
    case .interrupts(let mode, let count):
      self = .interrupts(device: device, mode: mode, vectors: count, microseconds: microseconds)
    case .vector(let vector, let change):
      self = .vector(device: device, vector: vector, change, microseconds: microseconds)
    case .reset(let why, let method):
      self = .reset(device: device, why: why, method, microseconds: microseconds)
    case .lost(let state):
      self = .loss(device: device, state, microseconds: microseconds)
    case .slot(let state): self = .slot(device: device, state)
    case .warning(let warning): self = .warning(device: device, text: warning.description)
    }
  }
}

extension TraceEvent.Window {
  fileprivate init(_ device: String, _ span: FunctionEvent.WindowSpan) {
    self.init(
      device: device, bar: span.bar, index: span.window, address: span.address, size: span.size)
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
