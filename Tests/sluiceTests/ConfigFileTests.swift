// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Gate
import PCI
import Testing
import VMM

@testable import sluice

@Suite struct ConfigFileTests {
  /// A file that is removed with its owner.
  private final class File {
    let path = FileManager.default.temporaryDirectory.appending(path: "sluice-\(UUID().uuidString).conf").path

    init(_ text: String) throws { try text.write(toFile: path, atomically: false, encoding: .utf8) }

    deinit { try? FileManager.default.removeItem(atPath: path) }  // a failure only leaves a file behind
  }

  private static let text = """
    # A virtual machine.
    kernel /boot/vmlinuz
      append   console=ttyS0  panic=-1\t

    memory 2G,node=1
    device 0000:01:00.0,peer-dma=off
    device 02:00.0
    summary
    """

  private func parse(_ text: String, _ more: [String] = []) throws -> RunCommand {
    let file = try File(text)
    return try #require(try RunArguments(["run", "--config", file.path] + more)).parse()
  }

  /// Returns the message for a file, without the path of the file.
  private func message(_ text: String, _ more: [String] = []) throws -> String {
    let file = try File(text)
    do {
      _ = try #require(try RunArguments(["run", "--config=\(file.path)"] + more)).parse().configuration()
      return ""
    } catch let error as WrongUsage {
      return error.message.replacing(file.path, with: "FILE")
    } catch { return RunCommand.message(for: error).replacing(file.path, with: "FILE") }
  }

  @Test("a file has the options of the command line")
  func options() throws {
    let command = try parse(Self.text)
    #expect(command.kernel == "/boot/vmlinuz" && command.append == "console=ttyS0  panic=-1")
    #expect(command.memory.bytes == 2 << 30 && command.memory.node == 1 && command.summary)
    #expect(command.devices.map(\.address.description) == ["0000:01:00.0", "0000:02:00.0"])
    #expect(command.devices[0].policies.peerDMA == .off)
  }

  @Test("an option of the command line replaces an option of the file; a device is added")
  func replaced() throws {
    let command = try parse(Self.text, ["--memory", "1G", "--device", "03:00.0"])
    #expect(command.memory.bytes == 1 << 30 && command.devices.count == 3)
  }

  @Test("arguments without --config, or of another command, are left to the parser")
  func others() throws {
    #expect(try RunArguments(["run", "--kernel", "k"]) == nil)
    #expect(try RunArguments(["devices", "--config", "/nonexistent"]) == nil)
    #expect(try RunArguments(["run", "--config"]) == nil)
    #expect(try RunArguments([]) == nil)
  }

  @Test(
    "an error names the file and the line",
    arguments: [
      ("kernel k\nno-such 1\n", "FILE:2: "), ("kernel k\n\ncpus 0\nsummary", "FILE:3: --cpus"),
      ("cpus many\nkernel k", "FILE:1: "), ("kernel k\nmemory lots", "FILE:2: "),
      ("kernel k\ndevice 01:00.0\ncpus 2\ndevice 0000:01:00.0", "FILE:4: "),
      ("kernel k\nsummary yes", "FILE:2: "),
      ("kernel k\n--cpus 2", "FILE:2: '--cpus' is not an option of a file"),
      ("config other", "FILE:1: 'config'"), ("kernel k\ncpu-pin 3:0\ncpus 2", "FILE:2: "),
      ("kernel", "FILE:1: "), ("kernel k\ncpus 0\ndevice nvme0", "FILE:3: "),
    ])
  func named(_ text: String, _ start: String) throws {
    let message = try message(text)
    #expect(message.contains(start), "\(message)")
  }

  @Test("an error of the command line, and a missing kernel, do not name the file")
  func ownErrors() throws {
    #expect(try !message(Self.text, ["--cpus", "0"]).contains("FILE"))
    #expect(try !message("summary").contains("FILE:"))
  }

  @Test(
    "a file that cannot be used is an error with its path and a remedy",
    arguments: [
      ("/nonexistent", "--config: open /nonexistent: "), ("/dev/zero", "/dev/zero: "), ("/", "--config: "),
    ])
  func unusable(_ path: String, _ text: String) {
    let error = #expect(throws: ValidationError.self) { _ = try RunArguments(["run", "--config", path]) }
    #expect(error?.message.contains(text) ?? false && error?.message.contains("; give") ?? false)
  }

  @Test("any bytes give options or an error, and no crash", arguments: 0..<200)
  func fuzz(_ seed: UInt64) throws {
    var state = seed &* 6_364_136_223_846_793_005 &+ 1
    var text = ""
    for _ in 0..<64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let pieces = [
        "kernel", "device", " ", "\n", "=", ",", "--", "#", "\u{FFFD}", "0", "memory", "\t", "\r", "\"", "'",
      ]
      text += pieces[Int(state >> 33) % pieces.count]
    }
    _ = try message(text)
  }
}
