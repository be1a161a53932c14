// SPDX-License-Identifier: Apache-2.0

import Foundation

/// An initramfs before packing: a directory that becomes a newc archive.
struct Initramfs {
  let directory: URL

  /// Creates the directory with busybox, the usual directories and `/init`.
  init(in directory: URL, script: String) throws {
    self.directory = directory
    try directory.removeIfPresent()
    for name in ["bin", "dev", "proc", "sys", "tmp", "run", "modules"] {
      try directory.appending(path: name).makeDirectory()
    }
    try copy(URL(filePath: "/bin/busybox"), to: "bin/busybox")
    let path = directory.appending(path: "init")
    try Data(script.utf8).write(to: path)
    // A syntax error is easier to find here than in a guest.
    try Command.output(["/bin/busybox", "sh", "-n", path.path])
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path.path)
  }

  func copy(_ source: URL, to path: String) throws {
    let target = directory.appending(path: path)
    try target.deletingLastPathComponent().makeDirectory()
    try target.removeIfPresent()
    try FileManager.default.copyItem(at: source.resolvingSymlinksInPath(), to: target)
  }

  func write(_ text: String, to path: String) throws {
    try Data(text.utf8).write(to: directory.appending(path: path))
  }

  /// The programs that decompress modules, by the extension of the file's name.
  private static let decompressors = ["xz": ["xz"], "zst": ["zstd", "--rm", "-q"], "gz": ["gzip"]]

  /// Adds uncompressed modules, and the list `/modules/NAME` with the order to load them.
  ///
  /// A module that is built into this kernel, or that this kernel lacks, adds nothing.
  func add(modules: [String], as name: String, from kernel: KernelPackage) throws {
    var order: [String] = []
    for module in modules {
      for file in try kernel.files(of: module) ?? [] {
        let name = file.lastPathComponent
        let decompressor = Self.decompressors[file.pathExtension]
        let plain = decompressor == nil ? name : String(name.dropLast(file.pathExtension.count + 1))
        if !directory.appending(path: "modules/\(plain)").exists {
          try copy(file, to: "modules/\(name)")
          if let decompressor {
            let path = directory.appending(path: "modules/\(name)").path
            try Command.output(decompressor + ["-d", "-f", path])
          }
        }
        if !order.contains(plain) { order.append(plain) }
      }
    }
    try write(order.map { $0 + "\n" }.joined(), to: "modules/\(name)")
  }

  /// Adds a program of this machine with the shared libraries that it needs.
  func add(program: String) throws {
    try copy(URL(filePath: program), to: String(program.dropFirst()))
    for line in try Command.output(["ldd", program]).split(separator: "\n") {
      guard let word = line.split(whereSeparator: \.isWhitespace).first(where: { $0.hasPrefix("/") }) else {
        continue
      }
      try copy(URL(filePath: String(word)), to: String(word.dropFirst()))
    }
  }

  /// Writes the archive without compression. Emulated processors unpack that fastest.
  func archive(to file: URL) throws {
    let temporary = file.path + ".new"
    try Command.output([
      "sh", "-c", "cd \"$1\" && find . | cpio --quiet -o -H newc -R 0:0 >\"$2\" && mv \"$2\" \"$3\"", "sh",
      directory.path, temporary, file.path,
    ])
    try directory.removeIfPresent()
  }
}
