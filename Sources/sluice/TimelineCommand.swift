// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import Trace

/// `sluice timeline`.
struct TimelineCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "timeline",
    abstract: "Draw a trace as a picture: phases, windows, resets, interrupts and DMA maps over time.",
    usage: "sluice timeline <trace> --output <file>")

  @Argument(help: ArgumentHelp("A file written by 'sluice run --trace'.", valueName: "trace"))
  var trace: String?

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The SVG file to write (required). An existing file is replaced.", valueName: "file"))
  var output: String?

  func run() throws {
    let trace = try required(trace, "trace: no file; give a file written by 'sluice run --trace'")
    let output = try required(output, "--output: no file; give the SVG file to write")
    var timeline: Timeline
    do {
      timeline = try Timeline(trace: text(of: trace))
    } catch let error as TraceError { throw CommandFailure("\(trace): \(error.message)") }
    do throws(KernelError) {
      let picture = try OwnedDescriptor(opening: output, .replace)
      try picture.write([UInt8](timeline.draw().utf8))
    } catch { throw CommandFailure(error.description) }
  }

  private func text(of trace: String) throws -> String {
    do throws(KernelError) {
      let input = try OwnedDescriptor(opening: trace, .read)
      let size = try input.size(of: trace)
      return String(decoding: try input.read(Int(clamping: size), at: 0), as: UTF8.self)
    } catch { throw CommandFailure(error.description) }
  }
}
