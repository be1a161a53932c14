// SPDX-License-Identifier: Apache-2.0

extension TraceEvent {
  /// The value of the field `event`.
  enum Name: String, CaseIterable {
    case phase, layer, iommu, gate, command, dma, interrupts, vector, reset, device, slot, warning, truncated
  }

  /// The value of the field `what`: the kind of memory in a `dma` event.
  enum Memory: String, CaseIterable {
    case ram, bar
  }

  /// The name of a field.
  enum Field: String, CaseIterable {
    case time, event, name, device, bar, window, windows, gpa, size, from, to, why, old, new, op, what, iova
    case container, mode, vectors, vector, method, state, text, path, interface
    /// The duration.
    case microseconds = "us"
  }

  /// The value of the field `event`.
  var name: Name {
    switch self {
    case .phase: .phase
    case .layer: .layer
    case .iommu: .iommu
    case .gate: .gate
    case .command: .command
    case .memory, .share, .peer: .dma
    case .interrupts: .interrupts
    case .vector: .vector
    case .reset: .reset
    case .loss: .device
    case .slot: .slot
    case .warning: .warning
    case .truncated: .truncated
    }
  }
}
