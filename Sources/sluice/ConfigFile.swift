// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux

/// A configuration file of `sluice run`. Each line has the long name of an option, and its value after a space:
///
///     kernel /boot/vmlinuz
///     append console=ttyS0 root=/dev/nvme0n1p1
///     device 0000:01:00.0,peer-dma=off
///     summary
///
/// Empty lines and lines that begin with `#` are skipped. The parser of the command line reads the options.
struct ConfigFile {
  let path: String
  /// The arguments of each line with an option, and the number of the line.
  private let lines: [(number: Int, arguments: [String])]

  /// The maximum size of a file in bytes.
  private static let limit = 65536

  /// All lines as arguments of the command line.
  var arguments: [String] { lines.flatMap(\.arguments) }

  /// Reads a file.
  ///
  /// - Throws: `ValidationError` with the file, the line, the cause and the remedy.
  init(path: String) throws {
    let bytes: [UInt8]
    do throws(KernelError) {
      bytes = try OwnedDescriptor(opening: path, .read).read(upTo: Self.limit + 1)
    } catch { throw ValidationError("--config: \(error); give a file that this user can read") }
    guard bytes.count <= Self.limit else {
      throw ValidationError("--config: \(path): larger than \(Self.limit) bytes; give a configuration file")
    }
    guard !bytes.contains(0) else {
      throw ValidationError("--config: \(path): has a NUL byte; give a text file")
    }
    try self.init(path: path, text: String(decoding: bytes, as: UTF8.self))
  }

  /// Reads the text of a file.
  init(path: String, text: String) throws {
    self.path = path
    var lines: [(number: Int, arguments: [String])] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let text = Self.trimmed(line)
      guard let name = text.split(maxSplits: 1, whereSeparator: Self.isBlank).first, !name.hasPrefix("#")
      else {
        continue
      }
      guard !name.hasPrefix("-"), name != "config" else {
        throw ValidationError(
          "\(path):\(index + 1): '\(name)' is not an option of a file; give the long name without dashes")
      }
      let value = Self.trimmed(text.dropFirst(name.count))
      // A value that begins with a dash must not become an option.
      let arguments = [value.isEmpty ? "--\(name)" : "--\(name)=\(value)"]
      lines.append((index + 1, arguments))
    }
    self.lines = lines
  }

  private init(path: String, lines: [(number: Int, arguments: [String])]) {
    (self.path, self.lines) = (path, lines)
  }

  private static func isBlank(_ character: Character) -> Bool { " \t\r".contains(character) }

  private static func trimmed(_ text: Substring) -> Substring {
    var text = text.drop(while: isBlank)
    while let last = text.last, isBlank(last) { text.removeLast() }
    return text
  }

  /// Returns the line that causes an error, or nil if the error has another cause.
  ///
  /// Without this line there is no error. If the file has several errors, the line alone causes the same error.
  ///
  /// - Parameters:
  ///   - message: The error for the whole file.
  ///   - check: Returns the error for the arguments of some lines, or nil.
  func line(of message: String, _ check: ([String]) -> String?) -> Int? {
    for index in lines.indices.reversed() {
      var others = lines
      others.remove(at: index)
      if check(others.flatMap(\.arguments)) == nil { return lines[index].number }
    }
    let isAlone = check(["--kernel=k"]) == message
    return isAlone ? nil : lines.first { check(["--kernel=k"] + $0.arguments) == message }?.number
  }
}

/// The arguments of `sluice run`, with the options of a configuration file added.
struct RunArguments {
  /// The arguments before and after the option `--config`.
  private let before: [String]
  private let after: [String]
  private let file: ConfigFile

  /// Finds `--config FILE` in the arguments of `sluice run`. Returns nil if it is not there.
  ///
  /// - Parameter arguments: The arguments of the process without its name.
  /// - Throws: `ValidationError` for a file that cannot be used.
  init?(_ arguments: [String]) throws {
    guard arguments.first == "run" else { return nil }
    let name = "--config"
    guard let index = arguments.firstIndex(where: { $0 == name || $0.hasPrefix(name + "=") }) else {
      return nil
    }
    var end = index + 1
    var path = String(arguments[index].dropFirst(name.count + 1))
    if arguments[index] == name {
      // The parser reports a missing value.
      guard end < arguments.count else { return nil }
      path = arguments[end]
      end += 1
    }
    file = try ConfigFile(path: path)
    before = Array(arguments[1..<index])
    after = Array(arguments[end...])
  }

  /// The arguments of `sluice run`. An option of the command line replaces an option of the file.
  private func arguments(_ lines: [String]) -> [String] {
    // Options of the file come first, and the last value of an option counts.
    lines + before + after
  }

  /// Parses the arguments.
  ///
  /// - Throws: The parser's error. It names the file and the line if a line of the file causes it.
  func parse() throws -> RunCommand {
    let all = arguments(file.arguments)
    if let message = Self.problem(all), let line = file.line(of: message, { Self.problem(arguments($0)) }) {
      throw WrongUsage(ValidationError("\(file.path):\(line): \(message)"), of: RunCommand.self)
    }
    return try RunCommand.parse(all)
  }

  /// Returns the error for the arguments of `sluice run`, or nil.
  private static func problem(_ arguments: [String]) -> String? {
    do {
      _ = try RunCommand.parse(arguments).configuration()
      return nil
    } catch { return RunCommand.message(for: error) }
  }
}
