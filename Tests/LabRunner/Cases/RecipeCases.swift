// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases that run the recipes of README.md word by word.
enum RecipeCases {
  static let all = [
    Case("readme-nvme", "the README's recipe for an NVMe drive, word by word on L1", limit: 90) { context in
      let drive = HostDevice(Address.smallDrive)
      try drive.bind(to: "nvme")
      defer { try? drive.bind(to: "vfio-pci") }  // the next case with the drive reports a failure
      let release = try Command.output(["uname", "-r"]).dropLast()
      let kernel = try context.kernel(.newFull)
      try context.require(
        kernel.version == release, "the guest's kernel \(kernel.version) is not the kernel of L1, \(release)")
      let boot = URL(filePath: "/boot")
      try boot.makeDirectory()
      try link(boot.appending(path: "vmlinuz-\(release)"), to: kernel.image)
      try link(boot.appending(path: "initrd.img-\(release)"), to: kernel.initramfs)
      try link(context.file("sluice"), to: context.manifest.sluice)
      let recipe = try block(after: "An NVMe drive")
      let address = "ADDRESS=0000:01:00.0"
      try context.require(recipe.hasPrefix(address + "\n"), "the recipe does not begin with \(address)")
      // L1 has no sudo; the case runs as root.
      let script = """
        set -e
        PATH=\(context.directory.path):$PATH
        sudo() { "$@"; }
        \(recipe.replacing(address, with: "ADDRESS=\(drive.address)"))
        """
      let child = try context.start(["sh", "-c", script], as: "guest")
      let status = try child.wait()
      try context.require(status == 0, "exit status \(status): \(child.lastMessage)")
      let sums = GuestLines(child.output).values(of: "nvme-sha256")
      guard let known = context.manifest.drives[drive.address] else { throw Failed("the drive is not known") }
      try context.require(sums == [[known.serial, known.sha256]], "the guest read \(sums)")
      try context.require(
        drive.driver == "nvme", "after the recipe the driver is \(drive.driver ?? "none"), expected nvme")
      return "\(recipe.split(separator: "\n").count) lines"
    }
  ]

  private static func link(_ file: URL, to target: String) throws {
    try file.removeIfPresent()
    try FileManager.default.createSymbolicLink(at: file, withDestinationURL: URL(filePath: target))
  }

  /// Returns the first block of code in README.md after a text.
  static func block(after text: String) throws -> String {
    let readme = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().appending(path: "README.md")
    let parts = try String(contentsOf: readme, encoding: .utf8).components(separatedBy: "\n\(text)")
    guard parts.count == 2 else { throw Failed("README.md has '\(text)' \(parts.count - 1) times, not once") }
    let blocks = parts[1].components(separatedBy: "```")
    guard blocks.count > 2 else { throw Failed("README.md has no block of code after '\(text)'") }
    return blocks[1].trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
