// SPDX-License-Identifier: Apache-2.0

/// A line of a trace: an event and its time.
public struct TraceRecord: Equatable, Sendable {
  /// The time in microseconds since the program began. It is never negative. An event with a duration ended
  /// at this time.
  public let time: Int64
  /// The event.
  public let event: TraceEvent

  /// Creates a record of an event.
  public init(time: Int64, event: TraceEvent) {
    self.time = time
    self.event = event
  }

  /// Decodes a line of JSON. Returns nil if it is not a valid record.
  public init?(_ line: Substring) {
    guard let object = FlatObject(line) else { return nil }
    let fields = FieldReader(object)
    do throws(FieldReader.Mismatch) {
      time = try fields.microseconds(.time)
      event = try TraceEvent(fields)
    } catch { return nil }
  }

  /// The record as a line of JSON, without the newline.
  public var line: String {
    var fields = FieldWriter()
    fields.put(.time, time)
    fields.put(.event, event.name)
    event.put(in: &fields)
    return fields.line
  }
}

extension TraceEvent {
  /// Writes the fields after `time` and `event`.
  fileprivate func put(in fields: inout FieldWriter) {
    switch self {
    case .phase(let name): fields.put(.name, name)
    case .layer(let name, let state, let text):
      fields.put(.name, name)
      fields.put(.state, state)
      fields.put(.text, text)
    case .iommu(let interface, let text):
      fields.put(.interface, interface)
      fields.put(.text, text)
    case .gate(let window, let from, let to, let why, _):
      fields.put(window)
      fields.put(.gpa, hex: window.address)
      fields.put(.size, window.size)
      fields.put(.from, from)
      fields.put(.to, to)
      fields.put(.why, why)
    case .command(let device, let old, let new, _):
      fields.put(.device, device)
      fields.put(.old, hex: old)
      fields.put(.new, hex: new)
    case .memory(let operation, let iova, let size, _):
      fields.put(.op, operation)
      fields.put(.what, Memory.ram)
      fields.put(.iova, hex: iova)
      fields.put(.size, size)
    case .share(let operation, let device, let iova, let size, _):
      fields.put(.op, operation)
      fields.put(.what, Memory.ram)
      fields.put(.device, device)
      fields.put(.iova, hex: iova)
      fields.put(.size, size)
    case .peer(let operation, let first, let windows, let container, _):
      fields.put(.op, operation)
      fields.put(.what, Memory.bar)
      fields.put(first)
      fields.put(.windows, windows)
      fields.put(.iova, hex: first.address)
      fields.put(.size, first.size)
      fields.put(.container, container)
    case .interrupts(let device, let mode, let vectors, _):
      fields.put(.device, device)
      fields.put(.mode, mode)
      fields.put(.vectors, vectors)
    case .vector(let device, let vector, let operation, _):
      fields.put(.device, device)
      fields.put(.vector, vector)
      fields.put(.op, operation)
    case .reset(let device, let why, let method, _):
      fields.put(.device, device)
      fields.put(.why, why)
      fields.put(.method, method)
    case .loss(let device, let state, _):
      fields.put(.device, device)
      fields.put(.state, state)
    case .slot(let device, let state):
      fields.put(.device, device)
      fields.put(.state, state)
    case .warning(let device, let text):
      fields.put(.device, device)
      fields.put(.text, text)
    case .truncated(let path): fields.put(.path, path)
    }
    if let microseconds { fields.put(.microseconds, microseconds) }
  }

  /// Reads an event from its fields.
  fileprivate init(_ fields: FieldReader) throws(FieldReader.Mismatch) {
    switch try fields.word(.event) as Name {
    case .phase: self = .phase(name: try fields.text(.name))
    case .layer:
      self = .layer(
        name: try fields.text(.name), try fields.word(.state), text: try fields.text(.text))
    case .iommu: self = .iommu(try fields.word(.interface), text: try fields.text(.text))
    case .gate:
      self = .gate(
        try fields.window(address: .gpa), from: try fields.word(.from), to: try fields.word(.to),
        why: try fields.word(.why), microseconds: try fields.microseconds())
    case .command:
      self = .command(
        device: try fields.text(.device), old: try fields.hex(.old), new: try fields.hex(.new),
        microseconds: try fields.microseconds())
    case .dma: self = try Self.dma(fields)
    case .interrupts:
      self = .interrupts(
        device: try fields.text(.device), mode: try fields.word(.mode), vectors: try fields.number(.vectors),
        microseconds: try fields.microseconds())
    case .vector:
      self = .vector(
        device: try fields.text(.device), vector: try fields.number(.vector), try fields.word(.op),
        microseconds: try fields.microseconds())
    case .reset:
      self = .reset(
        device: try fields.text(.device), why: try fields.word(.why), try fields.word(.method),
        microseconds: try fields.microseconds())
    case .device:
      self = .loss(
        device: try fields.text(.device), try fields.word(.state),
        microseconds: try fields.microseconds())
    case .slot: self = .slot(device: try fields.text(.device), try fields.word(.state))
    case .warning: self = .warning(device: try fields.text(.device), text: try fields.text(.text))
    case .truncated: self = .truncated(path: try fields.text(.path))
    }
  }

  private static func dma(_ fields: FieldReader) throws(FieldReader.Mismatch) -> TraceEvent {
    switch try fields.word(.what) as Memory {
    case .ram where fields.has(.device):
      .share(
        try fields.word(.op), device: try fields.text(.device), iova: try fields.hex(.iova),
        size: try fields.number(.size), microseconds: try fields.microseconds())
    case .ram:
      .memory(
        try fields.word(.op), iova: try fields.hex(.iova), size: try fields.number(.size),
        microseconds: try fields.microseconds())
    case .bar:
      .peer(
        try fields.word(.op), first: try fields.window(address: .iova), windows: try fields.number(.windows),
        container: try fields.number(.container), microseconds: try fields.microseconds())
    }
  }
}
