// SPDX-License-Identifier: Apache-2.0

/// A trace as a picture: phases, and for each device its windows, resets, interrupts and DMA maps over time.
public struct Timeline {
  private let records: [TraceRecord]
  private let end: Double
  private var svg = SVG()
  private var y = 0.0

  private static let left = 190.0
  private static let width = 1240.0
  private static let lane = 16.0
  /// Devices with more windows show those that opened, the first of them.
  private static let mostWindows = 16

  /// Reads a trace.
  public init(trace text: String) throws {
    records = try TraceRecord.records(of: text)
    end = max(records.map(\.time).max() ?? 1, 1)
  }

  private func x(_ time: Double) -> Double {
    Self.left + time / end * (Self.width - Self.left - 30)
  }

  /// The picture, as SVG.
  public mutating func draw() -> String {
    svg = SVG()
    y = 24
    svg.text(16, y, "Sluice: one run, \(Self.duration(end))", style: "title")
    drawPhases()
    drawAxis()
    var devices: [String] = []
    for record in records {
      if let device = record.device, !devices.contains(device) { devices.append(device) }
    }
    drawMemory()
    for device in devices { draw(device) }
    for record in records where record.event == "phase" { svg.line(x(record.time), 54, y, style: "phase") }
    drawLegend()
    return svg.document(width: Self.width, height: y + 16, css: Self.css)
  }

  /// Names of phases, in rows so that they do not lie over each other.
  private mutating func drawPhases() {
    var ends: [Double] = []
    let first = y + 22
    for record in records where record.event == "phase" {
      let label = "\(record.name ?? "") \(Self.duration(record.time))"
      let width = Double(label.count) * 6.2 + 8
      let isLate = x(record.time) + width > Self.width
      let start = isLate ? x(record.time) - width : x(record.time)
      let row = ends.firstIndex { $0 <= start } ?? ends.count
      if row == ends.count { ends.append(0) }
      ends[row] = start + width
      svg.text(
        x(record.time) + (isLate ? -4 : 4), first + Double(row) * 14, label, style: "label",
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

  private mutating func span(_ record: TraceRecord, _ style: String, _ title: String) {
    let took = record.us ?? 0
    svg.box(
      x(record.time - took), y + 3, x(record.time) - x(record.time - took), Self.lane - 6, style: style,
      title: "\(title), \(Self.duration(took)), at \(Self.duration(record.time))")
  }

  private mutating func drawMemory() {
    let maps = records.filter { $0.event == "dma" && $0.what == "ram" }
    guard !maps.isEmpty else { return }
    name("guest RAM → IOMMU")
    for record in maps {
      let size = Self.bytes(record.size ?? 0)
      if record.op == "map" {
        span(record, "ram", "\(size) mapped and pinned")
      } else {
        span(record, "unmap", "\(size) unmapped")
      }
    }
    y += Self.lane
  }

  private mutating func draw(_ device: String) {
    let own = records.filter { $0.device == device }
    y += 10
    svg.text(16, y + 12, device, style: "device")
    y += Self.lane
    name("resets, COMMAND")
    for record in own {
      switch record.event {
      case "reset": span(record, "reset", "reset: \(record.why ?? "")")
      case "command": span(record, "command", "COMMAND written")
      case "device": svg.box(x(record.time), y, 3, Self.lane, style: "lost", title: record.state ?? "")
      case "warning": svg.box(x(record.time), y, 3, Self.lane, style: "warning", title: record.text ?? "")
      default: break
      }
    }
    y += Self.lane
    drawWindows(own)
    drawInterrupts(own)
    let maps = own.filter { $0.event == "dma" && $0.what == "bar" }
    guard !maps.isEmpty else { return }
    name("BARs → IOMMU")
    for record in maps {
      span(record, record.op == "map" ? "ram" : "unmap", "BAR \(record.bar ?? 0) \(record.op ?? "")")
    }
    y += Self.lane
  }

  private mutating func drawWindows(_ own: [TraceRecord]) {
    struct Window: Hashable { var bar: Int, index: Int }
    var changes: [Window: [TraceRecord]] = [:]
    for record in own where record.event == "gate" {
      changes[Window(bar: record.bar ?? 0, index: record.window ?? 0), default: []].append(record)
    }
    let all = changes.keys.sorted { ($0.bar, $0.index) < ($1.bar, $1.index) }
    let opened = all.filter { changes[$0]?.contains { $0.to == "open" } ?? false }
    let shown = all.count <= Self.mostWindows ? all : Array(opened.prefix(Self.mostWindows))
    for window in shown {
      let list = changes[window] ?? []
      name("BAR \(window.bar), \(Self.bytes(list.first?.size ?? 0))")
      var state = "closed"
      var start = 0.0
      for record in list + [nil] {
        let until = record?.time ?? end
        svg.box(
          x(start), y + 2, x(until) - x(start), Self.lane - 4, style: state,
          title: "window \(window.index) \(state), \(Self.duration(start)) to \(Self.duration(until))")
        state = record?.to ?? state
        start = until
      }
      y += Self.lane
    }
    if shown.count < all.count {
      svg.text(
        x(0) + 4, y + 12, "and \(all.count - shown.count) windows more, \(opened.count) opened in all",
        style: "tick")
      y += Self.lane
    }
  }

  private mutating func drawInterrupts(_ own: [TraceRecord]) {
    let modes = own.filter { $0.event == "interrupts" }
    let vectors = own.filter { $0.event == "vector" }
    guard !modes.isEmpty || !vectors.isEmpty else { return }
    name("interrupts")
    var mode = "none"
    var start = 0.0
    for record in modes + [nil] {
      let until = record?.time ?? end
      if mode != "none" {
        svg.box(x(start), y + 4, x(until) - x(start), Self.lane - 8, style: mode, title: mode)
        if x(until) - x(start) > 40 { svg.text(x(start) + 4, y + 12, mode.uppercased(), style: "inside") }
      }
      mode = record?.mode ?? mode
      start = until
    }
    for record in vectors {
      svg.line(x(record.time), y + 1, y + Self.lane - 1, style: "vector-\(record.op ?? "")")
    }
    y += Self.lane
  }

  private mutating func drawLegend() {
    y += 22
    var at = Self.left
    for (style, text) in [
      ("closed", "closed: reads all-ones"), ("armed", "armed: the first access opens it"),
      ("open", "open: mapped"),
      ("reset", "reset"), ("command", "COMMAND"), ("ram", "DMA map"), ("lost", "lost"),
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
    .ram{fill:#3b82c4}.unmap{fill:#9bbbd8}.lost{fill:#000}.warning{fill:#d97706}\
    .intx{fill:#8a6fb0}.msi{fill:#6f7fb0}.msix{fill:#4f6fa0}\
    line{stroke-width:1}.vector-allocate,.vector-unmask{stroke:#4c9f70}.vector-mask{stroke:#b5382a}.vector-route{stroke:#888}
    """
}
