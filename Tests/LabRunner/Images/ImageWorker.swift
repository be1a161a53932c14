// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Boot
import Foundation
import GuestMemory
import Linux
import Seams

/// `image-worker`: the process that loads mutated images.
///
/// If the loader traps, this process ends. A file then has the number of its iteration.
struct ImageWorker: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "image-worker", shouldDisplay: false)

  @Option var seed: UInt64
  @Option var from: UInt64 = 0
  /// The duration in seconds, or 0 for one iteration.
  @Option var seconds: Double
  /// The directory of the loaded files and of the file `iteration`.
  @Option var directory: String
  /// The iteration to end by a trap on purpose, to show that a crash is detected, or nil.
  @Option var trap: UInt64?
  @Argument var files: [String] = []

  /// The results of the loader, by kind.
  struct Outcomes: Codable {
    var iterations: UInt64 = 0
    var kinds: [String: UInt64] = [:]
    /// Results that are neither a loaded kernel nor an error of one line.
    var faults: [String] = []
  }

  func run() throws {
    let mutator = try ImageMutator(files.map { URL(filePath: $0) })
    let loader = try ImageLoader(directory: directory)
    let progress = try OwnedDescriptor(opening: "\(directory)/iteration", .readWrite)
    let end = ContinuousClock.now + .seconds(seconds)
    var outcomes = Outcomes()
    var iteration = from
    while true {
      try write(iteration, to: progress)
      if iteration == trap { fatalError("a trap on purpose") }
      let input = mutator.input(seed: seed, iteration: iteration)
      do {
        outcomes.kinds[try loader.load(input, iteration), default: 0] += 1
      } catch let fault as Failed {
        outcomes.faults.append("iteration \(iteration): \(fault)")
      }
      outcomes.iterations += 1
      iteration += 1
      if seconds == 0 || ContinuousClock.now >= end { break }
    }
    printLine(String(decoding: try JSONEncoder().encode(outcomes), as: UTF8.self))
  }

  /// Writes the iteration to a file, which the parent reads after a crash of this process.
  private func write(_ iteration: UInt64, to file: borrowing OwnedDescriptor) throws {
    // SAFETY: the write reads eight bytes of a variable that lives for the call.
    let put = unsafe withUnsafeBytes(of: iteration.littleEndian) {
      unsafe pwrite(file.number, $0.baseAddress, 8, 0)
    }
    guard put == 8 else { throw LabError("\(directory)/iteration: pwrite: errno \(errno)") }
  }
}

/// The image loader with its input files.
struct ImageLoader {
  let directory: String

  init(directory: String) throws {
    self.directory = directory
    try URL(filePath: "\(directory)/directory").makeDirectory()
    for (name, target) in [("loop", "loop"), ("null", "/dev/null"), ("zero", "/dev/zero")] {
      let path = "\(directory)/\(name)"
      // SAFETY: the paths live for the calls.
      _ = unsafe unlink(path)
      guard unsafe symlink(target, path) == 0 else { throw LabError("\(path): symlink: errno \(errno)") }
    }
    _ = unsafe unlink("\(directory)/fifo")
    guard unsafe mkfifo("\(directory)/fifo", 0o600) == 0 else {
      throw LabError("\(directory)/fifo: mkfifo: errno \(errno)")
    }
  }

  /// Loads an input, and returns the kind of the result.
  ///
  /// - Throws: `Failed` if the result is wrong.
  func load(_ input: ImageMutator.Input, _ iteration: UInt64) throws -> String {
    let kernel = try write(input.kernel, "kernel")
    let initrd = try input.initrd.map { try write($0, "initrd") }
    let memory = try GuestMemory(size: input.memory, backing: .memfd)
    let entry: EntryPoint
    do throws(BootError) {
      entry = try KernelImage.load(
        path: kernel, initrd: initrd, commandLine: input.commandLine, memory: memory)
      if iteration % 4 == 0 { try install(iteration, memory) }
    } catch {
      let text = error.description
      let subjects =
        ["kernel \(kernel)", "kernel command line", "guest RAM", "ACPI tables", "64-bit PCI window"]
        + (initrd.map { ["initrd \($0)"] } ?? [])
      guard subjects.contains(where: text.hasPrefix), text.contains(": "), !text.contains("\n") else {
        throw Failed("error text: not one line with a subject and a cause: '\(text)'")
      }
      return Self.kind(error)
    }
    let start = entry.initialState.rip
    guard let low = memory.regions.first, start >= 0x2000, start < low.end.rawValue else {
      throw Failed("loaded with an entry outside of RAM: 0x\(String(start, radix: 16))")
    }
    return "loaded"
  }

  /// Installs the tables and the reset vector that follow a kernel.
  private func install(_ iteration: UInt64, _ memory: GuestMemory) throws(BootError) {
    let number = iteration / 4
    let start = UInt64(1) << (32 + number % 20)
    let end = start + UInt64(1) << (20 + number % 24)
    _ = try ACPI.install(Platform(cpus: Int(number % 300), pciWindow64: start..<end), in: memory)
    try ResetVector.install(in: memory)
  }

  /// Returns the name of an error's case.
  private static func kind(_ error: BootError) -> String {
    Mirror(reflecting: error).children.first?.label ?? "\(error)"
  }

  /// Writes a file, and returns its path.
  private func write(_ file: ImageMutator.File, _ name: String) throws -> String {
    switch file {
    case .special(let special): return "\(directory)/\(special.rawValue)"
    case .image(let image):
      let path = "\(directory)/\(name)"
      let descriptor = try OwnedDescriptor(opening: path, .replace)
      try descriptor.write(image.bytes)
      if image.size > UInt64(image.bytes.count), let size = Int64(exactly: image.size) {
        // The size may exceed the file system's limit. The file then has no hole.
        _ = ftruncate(descriptor.number, off_t(size))
      }
      return path
    }
  }
}
