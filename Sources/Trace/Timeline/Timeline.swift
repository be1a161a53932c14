// SPDX-License-Identifier: Apache-2.0

/// A drawing of a trace. It shows the phases, and the windows, resets, interrupts and DMA maps of each device
/// over time.
public struct Timeline {
  private let records: [TraceRecord]
  private let end: Double
  private var svg = SVG()
  private var y = 0.0

  private static let left = 190.0
  private static let width = 1240.0
  private static let lane = 16.0
  /// The maximum number of windows drawn per device. A device with more windows shows the first ones that
  /// opened.
  private static let mostWindows = 16

  /// Parses a trace.
  public init(trace text: String) throws(TraceError) {
    records = try TraceRecord.records(of: text)
    end = max(records.map(\.moment).max() ?? 1, 1)
  }

  private func x(_ time: Double) -> Double {
    Self.left + time / end * (Self.width - Self.left - 30)
  }

  /// Draws the trace and returns it as SVG.
  public mutating func draw() -> String {
    svg = SVG()
    y = 24
    svg.text(16, y, "Sluice: trace of \(Self.duration(end))", style: "title")
    drawPhases()
    drawAxis()
    var devices: [String] = []
    for record in records {
      if let device = record.event.device, !devices.contains(device) { devices.append(device) }
    }
    drawMemory()
    for device in devices { draw(device) }
    for phase in phases { svg.line(x(phase.time), 54, y, style: "phase") }
    drawLegend()
    return svg.document(width: Self.width, height: y + 16, css: Self.css)
  }

  private var phases: [(name: String, time: Double)] {
    records.compactMap { record in
      if case .phase(let name) = record.event { (name, record.moment) } else { nil }
    }
  }

  /// Draws the names of the phases, in rows so that they do not overlap.
  private mutating func drawPhases() {
    var ends: [Double] = []
    let first = y + 22
    for (name, time) in phases {
      let label = "\(name) \(Self.duration(time))"
      let width = Double(label.count) * 6.2 + 8
      let isLate = x(time) + width > Self.width
      let start = isLate ? x(time) - width : x(time)
      let row = ends.firstIndex { $0 <= start } ?? ends.count
      if row == ends.count { ends.append(0) }
      ends[row] = start + width
      svg.text(
        x(time) + (isLate ? -4 : 4), first + Double(row) * 14, label, style: "label",
        anchor: isLate ? "end" : "start")
    }
    y = first + Double(max(ends.count, 1)) * 14
  }

  private mutating func drawAxis() {
    y += 10
    for tick in 0...8 {
      let time = end * Double(tick) / 8
      svg.text(x(time), y, Self.duration(time), style: "tick", anchor: "middle")
    }
    y += 8
  }

  private mutating func name(_ text: String) {
    svg.text(Self.left - 10, y + 12, text, style: "label", anchor: "end")
    svg.box(x(0), y + Self.lane - 0.5, x(end) - x(0), 0.5, style: "rule")
  }

  private mutating func drawInterval(_ record: TraceRecord, _ style: String, _ title: String) {
    let end = record.moment
    let took = Double(record.event.microseconds ?? 0)
    svg.box(
      x(end - took), y + 3, x(end) - x(end - took), Self.lane - 6, style: style,
      title: "\(title), \(Self.duration(took)), at \(Self.duration(end))")
  }

  private mutating func drawMemory() {
    drawMaps("guest RAM → IOMMU", records) { event in
      guard case .memory(let operation, _, let size, _) = event else { return nil }
      let text = Self.bytes(size)
      return (operation, operation == .map ? "\(text) mapped and pinned" : "\(text) unmapped")
    }
  }

  /// Draws a lane with maps and unmaps, if there are some.
  ///
  /// - Parameters:
  ///   - title: The name of the lane.
  ///   - records: The records of the lane, among others.
  ///   - map: Returns the operation and the text of an event, or nil for an event that is not of the lane.
  private mutating func drawMaps(
    _ title: String, _ records: [TraceRecord],
    _ map: (TraceEvent) -> (operation: TraceEvent.MapOperation, text: String)?
  ) {
    var isNamed = false
    for record in records {
      guard let (operation, text) = map(record.event) else { continue }
      if !isNamed { name(title) }
      isNamed = true
      switch operation {
      case .map: drawInterval(record, "ram", text)
      case .unmap: drawInterval(record, "unmap", text)
      }
    }
    if isNamed { y += Self.lane }
  }

  private mutating func draw(_ device: String) {
    let own = records.filter { $0.event.device == device }
    y += 10
    svg.text(16, y + 12, device, style: "device")
    y += Self.lane
    name("resets, COMMAND")
    for record in own {
      switch record.event {
      case .reset(_, let why, _, _): drawInterval(record, "reset", "reset: \(why.rawValue)")
      case .command: drawInterval(record, "command", "COMMAND written")
      case .loss(_, let state, _):
        svg.box(x(record.moment), y, 3, Self.lane, style: "lost", title: state.rawValue)
      case .slot(_, let state):
        svg.box(x(record.moment), y, 3, Self.lane, style: "slot", title: "slot: \(state.rawValue)")
      case .warning(_, let text): svg.box(x(record.moment), y, 3, Self.lane, style: "warning", title: text)
      default: break
      }
    }
    y += Self.lane
    drawWindows(own)
    drawInterrupts(own)
    drawMaps("guest RAM → process", own) { event in
      guard case .share(let operation, _, _, let size, _) = event else { return nil }
      return (operation, "\(Self.bytes(size)) \(operation == .map ? "mapped" : "unmapped")")
    }
    drawMaps("BARs → IOMMU", own) { event in
      guard case .peer(let operation, let first, _, _, _) = event else { return nil }
      return (operation, "BAR \(first.bar) \(operation.rawValue)")
    }
  }

  private mutating func drawWindows(_ own: [TraceRecord]) {
    struct Window: Hashable { var bar: Int, index: Int }
    typealias Change = (time: Double, size: UInt64, to: TraceEvent.WindowState)
    var changes: [Window: [Change]] = [:]
    for record in own {
      guard case .gate(let window, _, let to, _, _) = record.event else { continue }
      changes[Window(bar: window.bar, index: window.index), default: []]
        .append((record.moment, window.size, to))
    }
    let all = changes.keys.sorted { ($0.bar, $0.index) < ($1.bar, $1.index) }
    let opened = all.filter { changes[$0]?.contains { $0.to == .open } ?? false }
    let shown = all.count <= Self.mostWindows ? all : Array(opened.prefix(Self.mostWindows))
    for window in shown {
      let list = changes[window] ?? []
      name("BAR \(window.bar), \(Self.bytes(list.first?.size ?? 0))")
      var state = TraceEvent.WindowState.closed
      var start = 0.0
      for change in list + [nil] {
        let until = change?.time ?? end
        svg.box(
          x(start), y + 2, x(until) - x(start), Self.lane - 4, style: state.rawValue,
          title:
            "window \(window.index) \(state.rawValue), \(Self.duration(start)) to \(Self.duration(until))")
        state = change?.to ?? state
        start = until
      }
      y += Self.lane
    }
    if shown.count < all.count {
      svg.text(
        x(0) + 4, y + 12, "and \(all.count - shown.count) more windows, \(opened.count) opened in total",
        style: "tick")
      y += Self.lane
    }
  }

  private mutating func drawInterrupts(_ own: [TraceRecord]) {
    var modes: [(time: Double, mode: TraceEvent.InterruptMode)] = []
    var vectors: [(time: Double, operation: TraceEvent.VectorOperation)] = []
    for record in own {
      switch record.event {
      case .interrupts(_, let mode, _, _): modes.append((record.moment, mode))
      case .vector(_, _, let operation, _): vectors.append((record.moment, operation))
      default: break
      }
    }
    guard !modes.isEmpty || !vectors.isEmpty else { return }
    name("interrupts")
    var mode = TraceEvent.InterruptMode.none
    var start = 0.0
    for change in modes + [nil] {
      let until = change?.time ?? end
      if mode != .none {
        let (from, width) = (x(start), x(until) - x(start))
        svg.box(from, y + 4, width, Self.lane - 8, style: mode.rawValue, title: mode.rawValue)
        if width > 40 { svg.text(from + 4, y + 12, mode.rawValue.uppercased(), style: "inside") }
      }
      mode = change?.mode ?? mode
      start = until
    }
    for (time, operation) in vectors {
      svg.line(x(time), y + 1, y + Self.lane - 1, style: "vector-\(operation.rawValue)")
    }
    y += Self.lane
  }

  private mutating func drawLegend() {
    y += 22
    var at = Self.left
    for (style, text) in [
      ("closed", "closed: reads all-ones"), ("armed", "armed: the first access opens it"),
      ("open", "open: mapped"),
      ("reset", "reset"), ("command", "COMMAND"), ("ram", "DMA map"), ("slot", "slot"),
      ("lost", "device lost"),
      ("warning", "warning"),
    ] {
      svg.box(at, y - 9, 14, 10, style: style)
      svg.text(at + 19, y, text, style: "tick")
      at += Double(text.count) * 6 + 44
    }
  }

  static func duration(_ microseconds: Double) -> String {
    switch microseconds {
    case ..<1000: "\(Int(microseconds)) µs"
    case ..<1_000_000: "\(SVG.number(microseconds / 1000)) ms"
    default: "\(SVG.number(microseconds / 1_000_000)) s"
    }
  }

  static func bytes(_ count: UInt64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] as [(UInt64, String)]
    where count >= 1 << shift {
      return "\(count >> shift) \(unit)"
    }
    return "\(count) bytes"
  }

  private static let css = """
    text{font:11px system-ui,sans-serif;fill:#333}.title{font:600 16px system-ui,sans-serif}\
    .device{font:600 12px ui-monospace,monospace}.tick{font-size:10px;fill:#777}.inside{font-size:9px;fill:#fff}\
    .paper{fill:#fff}.rule{fill:#e4e4e4}.phase{stroke:#888;stroke-width:.6;stroke-dasharray:3 3}\
    .closed{fill:#d9d9d9}.armed{fill:#f2c14e}.open{fill:#4c9f70}.reset{fill:#b5382a}.command{fill:#555}\
    .ram{fill:#3b82c4}.unmap{fill:#9bbbd8}.slot{fill:#7a4f9e}.lost{fill:#000}.warning{fill:#d97706}\
    .intx{fill:#8a6fb0}.msi{fill:#6f7fb0}.msix{fill:#4f6fa0}\
    line{stroke-width:1}.vector-allocate,.vector-unmask{stroke:#4c9f70}.vector-mask{stroke:#b5382a}.vector-route{stroke:#888}
    """
}

extension TraceRecord {
  /// The time in microseconds, the unit of the drawing.
  fileprivate var moment: Double { Double(time) }
}
