// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The resources of a VM's process that a cycle of additions and removals must return: descriptors, threads and mappings.
struct ProcessResources: Equatable, CustomStringConvertible {
  /// The number of descriptors by kind: `eventfd`, `socket`, `vfio-device`, or the path of a file.
  private(set) var descriptors: [String: Int]
  private(set) var threads: Int
  /// The number of mappings of files that are not part of the program: guest RAM, vCPUs and windows of devices.
  private(set) var mappings: [String: Int]

  /// Reads the present resources of a process.
  init(of process: Int32) throws {
    let directory = "/proc/\(process)"
    let links = try FileManager.default.contentsOfDirectory(atPath: directory + "/fd").compactMap { number in
      // A thread may close the descriptor after the directory has been read.
      try? FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/fd/\(number)")
    }
    self.init(
      links: links, threads: try FileManager.default.contentsOfDirectory(atPath: directory + "/task").count,
      maps: try ProcFile.text(directory + "/maps"))
  }

  /// - Parameters:
  ///   - links: The targets of the links in `/proc/PID/fd`.
  ///   - threads: The number of threads.
  ///   - maps: The content of `/proc/PID/maps`.
  init(links: [String], threads: Int, maps: String) {
    descriptors = Dictionary(links.map { (Self.kind($0), 1) }, uniquingKeysWith: +)
    self.threads = threads
    let names = maps.split(separator: "\n").compactMap { line -> String? in
      let words = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
      guard words.count == 6 else { return nil }
      let name = Self.kind(words[5].trimmingCharacters(in: .whitespaces))
      return name.contains("sluice") || name.hasPrefix("[") ? nil : name
    }
    mappings = Dictionary(names.map { ($0, 1) }, uniquingKeysWith: +)
  }

  /// Returns the kind of a file: `eventfd` for `anon_inode:[eventfd]`, and `socket` for `socket:[123]`.
  private static func kind(_ link: String) -> String {
    if link.hasPrefix("anon_inode:") { return String(link.dropFirst(11).filter { !"[]".contains($0) }) }
    if let kind = link.firstMatch(of: #/^(socket|pipe):\[[0-9]+\]$/#) { return String(kind.1) }
    return link
  }

  var description: String {
    let count = descriptors.values.reduce(0, +)
    return "\(count) descriptors, \(threads) threads, \(mappings.values.reduce(0, +)) mappings"
  }

  /// Returns the differences from later resources, for example `eventfd: 12, then 14`.
  func differences(from later: ProcessResources) -> [String] {
    func changes(_ before: [String: Int], _ after: [String: Int], _ what: String) -> [String] {
      Set(before.keys).union(after.keys).sorted().compactMap { key in
        let (old, new) = (before[key] ?? 0, after[key] ?? 0)
        return old == new ? nil : "\(what) \(key): \(old), then \(new)"
      }
    }
    return changes(descriptors, later.descriptors, "descriptors of")
      + (threads == later.threads ? [] : ["threads: \(threads), then \(later.threads)"])
      + changes(mappings, later.mappings, "mappings of")
  }
}
