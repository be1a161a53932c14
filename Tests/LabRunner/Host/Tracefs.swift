// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The file system of the kernel's tracing in L1.
enum Tracefs {
  private static let directory = URL(filePath: "/sys/kernel/tracing")

  static func mount() throws {
    if directory.appending(path: "trace").exists { return }
    try Command.output(["mount", "-t", "tracefs", "tracefs", directory.path])
  }

  static func exists(_ name: String) -> Bool { directory.appending(path: name).exists }

  static func names(in name: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory.appending(path: name).path)
  }

  static func text(_ name: String) throws -> String {
    try ProcFile.text(directory.appending(path: name).path)
  }

  /// Writes a line. The kernel parses the data of each write(2) as a whole.
  ///
  /// - Parameters:
  ///   - line: The line without its newline. An empty text writes nothing.
  ///   - name: The path of the file, relative to tracefs.
  ///   - truncating: True to empty the file first, like a shell's `>`. Otherwise the line is added.
  static func write(_ line: String, to name: String, truncating: Bool = false) throws {
    let path = directory.appending(path: name).path
    // SAFETY: the string lives for the call.
    let descriptor = unsafe open(path, truncating ? O_WRONLY | O_TRUNC : O_WRONLY)
    guard descriptor >= 0 else { throw Failed("\(path): open: errno \(errno)") }
    let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    if !line.isEmpty { try handle.write(contentsOf: Data((line + "\n").utf8)) }
    try handle.close()
  }
}
