// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// The guests of `Guests/`, built beside the tests.
enum SmallGuests {
  /// The guests that tests run.
  static let names = [
    "bar-lazy-open", "bars", "config", "edu-dma", "exceptions", "expansion-rom", "fuzz", "hello",
    "instructions", "intx", "many-processors", "memory-enable", "msi", "msix", "pci-enumeration", "reset",
    "watch",
  ]

  /// The reason why the guests cannot run, or nil.
  static let obstacle: String? = {
    guard TinyVM.isPossible else { return TinyVM.reason }
    let root = URL(filePath: #filePath).appending(path: "../../../..").standardized
    let build = Process()
    build.executableURL = root.appending(path: "Guests/build")
    build.arguments = [directory] + names
    build.standardOutput = FileHandle.nullDevice
    build.standardError = FileHandle.nullDevice
    guard (try? build.run()) != nil else { return "Guests/build cannot be executed" }
    build.waitUntilExit()
    return build.terminationStatus == 0 ? nil : "Guests/build failed: it needs the tools of a Swift toolchain"
  }()

  static let reason = obstacle ?? "no reason"

  private static let directory = URL(filePath: Program.file).deletingLastPathComponent().appending(
    path: "test-guests"
  ).path

  /// Returns the path of a guest.
  static func path(_ name: String) -> String { "\(directory)/\(name).elf" }
}

extension TinyVM {
  /// Starts a guest of `Guests/` with a device. The guest ends with status 1 if no check failed.
  ///
  /// - Parameters:
  ///   - name: The guest.
  ///   - append: The guest's command line.
  ///   - socket: The path of the device's socket.
  ///   - cpus: The number of vCPUs.
  ///   - options: More options.
  convenience init(
    smallGuest name: String, append: String = "", socket: String, cpus: Int = 2, _ options: [String] = []
  ) throws {
    try self.init(
      kernel: SmallGuests.path(name), memory: "128M",
      ["--debug-exit", "--cpus", "\(cpus)", "--append", append, "--device", "vfio-user:\(socket)"] + options)
  }

  /// Waits for the end of a guest of `Guests/`. Returns its failed checks, or the reason why it has not ended well.
  func failures(seconds: Int = 60) -> [String] {
    let end = ContinuousClock.now + .seconds(seconds)
    while !hears("\ndone "), wait(seconds: 0) == nil, ContinuousClock.now < end {}
    _ = wait(seconds: 5)
    let failed = text.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("not ok") }.map(String.init)
    return status == 1 || !failed.isEmpty ? failed : ["status \(status ?? -1): \(errors)\(text)"]
  }
}
