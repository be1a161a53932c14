// SPDX-License-Identifier: Apache-2.0

import Foundation
package import Linux

/// The programs of the test servers.
package enum ServerProgram: String {
  case edu = "VFIOUserEdu"
  case nvme = "VFIOUserNVMe"
}

/// A process of a test server. It is killed at the end of its owner's life.
package final class ServerProcess: Sendable {
  /// The path of the socket.
  package let path: String
  private let process = Process()
  private let directory: String

  /// Starts a server.
  ///
  /// - Parameters:
  ///   - program: The program.
  ///   - arguments: More arguments than the socket.
  ///   - faults: The text of a fault plan, or nil.
  ///   - path: The path of the socket, or nil for a new one.
  ///   - isQuiet: True if the messages of the server are discarded.
  package init(
    _ program: ServerProgram, _ arguments: [String] = [], faults: String? = nil, path: String? = nil,
    isQuiet: Bool = false
  ) throws {
    directory = FileManager.default.temporaryDirectory.appending(path: "vfio-user-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    self.path = path ?? directory + "/socket"
    let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    process.executableURL = URL(filePath: tests).deletingLastPathComponent().appending(path: program.rawValue)
    var all = ["--socket", self.path] + arguments
    if let faults {
      try Data(faults.utf8).write(to: URL(filePath: directory + "/faults"))
      all += ["--faults", directory + "/faults"]
    }
    process.arguments = all
    if isQuiet { process.standardError = FileHandle.nullDevice }
    try process.run()
  }

  deinit {
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    process.waitUntilExit()
    try? FileManager.default.removeItem(atPath: directory)  // a failure only leaves files behind
  }

  /// Returns the processor time that the process has used, in seconds.
  package func processorSeconds() throws -> Double {
    let text = try String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)
    // The name of the program is in parentheses. The 12th and the 13th word after it count ticks of 10 ms.
    let words = text.split(separator: ")").last?.split(separator: " ") ?? []
    return words.count > 12 ? words[11...12].compactMap { Double($0) }.reduce(0, +) / 100 : 0
  }

  /// True if the process has not ended.
  package var isRunning: Bool { process.isRunning }

  /// The ID of the process.
  package var identifier: Int32 { process.processIdentifier }

  /// Sends a signal.
  package func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

  /// Waits for the end and returns the exit status, or 128 and the signal.
  package func wait() -> Int32 {
    process.waitUntilExit()
    return process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
  }

  /// Connects. Waits until the server listens.
  package func connect() throws -> OwnedDescriptor {
    let end = Clock.microseconds() + 10_000_000
    while true {
      do throws(KernelError) { return try StreamSocket.connect(to: path, waits: true) } catch {
        guard Clock.microseconds() < end else { throw error }
        usleep(1000)
      }
    }
  }
}
