// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A process of Sluice, seen from outside by /proc.
struct ConfinedProcess {
  let id: Int32

  /// Checks the user, the capabilities and the filter of each thread. Returns the number of threads.
  ///
  /// - Parameter user: The ID of the user and of the group.
  func requireThreads(ofUser user: String) throws -> Int {
    var count = 0
    for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/task") {
      let status = try Self.fields(of: "/proc/\(id)/task/\(thread)/status")
      let name = status["Name"]?.first ?? ""
      // A thread of KVM runs no code of the process.
      if name.hasPrefix("kvm-") { continue }
      count += 1
      var expected = ["NoNewPrivs": ["1"], "Seccomp": ["2"]]
      for ids in ["Uid", "Gid"] { expected[ids] = Array(repeating: user, count: 4) }
      for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] { expected[set] = ["0000000000000000"] }
      for (field, value) in expected where status[field] != value {
        throw Failed("thread \(name): \(field) is \(status[field] ?? []), expected \(value)")
      }
    }
    return count
  }

  /// Checks that the root directory is empty, and that no namespace is a namespace of this process.
  func requireOwnRoot() throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/root")
    guard files.isEmpty else { throw Failed("the root directory has \(files)") }
    let mounts = try ProcFile.text("/proc/\(id)/mountinfo").split(separator: "\n")
    guard mounts.count == 1, mounts[0].contains(" / / ro,"), mounts[0].contains(" - tmpfs ") else {
      throw Failed("the mounts are \(mounts)")
    }
    for name in ["user", "mnt", "net", "ipc", "uts"] {
      let namespace = "/ns/\(name)"
      let (own, other) = try (
        FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self" + namespace),
        FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(id)" + namespace)
      )
      guard own != other else { throw Failed("the namespace \(name) is the namespace of the host") }
    }
  }

  /// The fields of a file `status` of /proc, each split at white space.
  private static func fields(of path: String) throws -> [String: [String]] {
    var fields: [String: [String]] = [:]
    for line in try ProcFile.text(path).split(separator: "\n") {
      let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
      if let name = words.first, name.hasSuffix(":") {
        fields[String(name.dropLast())] = Array(words.dropFirst())
      }
    }
    return fields
  }

  /// Finds a process of Sluice by its ID in a pid namespace. Returns nil if there is none.
  ///
  /// - Parameters:
  ///   - name: The name of the process.
  ///   - inner: The ID in the innermost namespace of the process.
  init?(named name: String, inner: String) throws {
    for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
      // A process that has ended is not the process with the ID.
      guard let id = Int32(entry), let status = try? Self.fields(of: "/proc/\(entry)/status") else {
        continue
      }
      if status["Name"] == [name], let ids = status["NSpid"], ids.count > 1, ids.last == inner {
        self.id = id
        return
      }
    }
    return nil
  }

  init(id: Int32) { self.id = id }
}
