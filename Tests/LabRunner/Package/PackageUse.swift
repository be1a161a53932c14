// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The use of the package in a root of Debian, from its installation to its purge.
struct PackageUse {
  let root: CleanRoot
  let package: DebianPackage
  let workspace: Workspace

  /// The files that an operator expects.
  private static let expected = [
    "usr/bin/sluice", "usr/lib/systemd/system/sluice@.service", "usr/lib/udev/rules.d/60-sluice.rules",
    "usr/lib/modules-load.d/sluice.conf", "etc/security/limits.d/sluice.conf", "etc/sluice",
    "usr/share/man/man1/sluice.1.gz", "usr/share/man/man1/sluice.run.1.gz",
    "usr/share/bash-completion/completions/sluice", "usr/share/zsh/vendor-completions/_sluice",
    "usr/share/fish/vendor_completions.d/sluice.fish", "usr/share/doc/sluice/copyright",
    "usr/share/doc/sluice/changelog.gz",
  ]

  /// Installs, uses and purges the package. Returns a remark.
  func check() throws -> String {
    let before = try root.listing()
    try root.copy(package.file, to: "sluice.deb")
    try root.output(["apt-get", "install", "--no-install-recommends", "-y", "/sluice.deb"])
    try requireFiles()
    let remark = try use()
    // Another user may be a member of the group.
    try root.output(["usermod", "-aG", "sluice", "nobody"])
    try root.output(["apt-get", "purge", "-y", "sluice"])
    try root.output(["rm", "/sluice.deb"])
    let changes = before.changes(in: try root.listing())
    guard changes.isEmpty else { throw Failed("the purge left \(changes.joined(separator: " "))") }
    return remark
  }

  private func requireFiles() throws {
    let installed = try root.listing()
    for path in Self.expected where !installed.has(path) { throw Failed("\(path): not installed") }
    // dpkg in a container may leave out documentation.
    for path in try package.files() where !installed.has(path) { throw Failed("\(path): not installed") }
    try root.output(["getent", "passwd", "sluice"])
    try root.output(["getent", "group", "sluice"])
  }

  /// Runs the program. Returns a remark.
  private func use() throws -> String {
    let version = try root.output(["sluice", "--version"]).trimmingCharacters(in: .newlines)
    guard package.file.lastPathComponent == "sluice_\(version)_amd64.deb" else {
      throw Failed("sluice --version: \(version); the package is \(package.file.lastPathComponent)")
    }
    let devices = try root.output(["sluice", "devices"]).split(separator: "\n").count
    let remark = "version \(version), \(devices) lines of devices"
    guard let reason = try Self.reasonAgainstKVM() else {
      try runGuest()
      return "\(remark), the guest hello passes"
    }
    return "\(remark); no guest: \(reason)"
  }

  /// Runs a guest of `Guests/` with options from a configuration file.
  private func runGuest() throws {
    let guest = workspace.guests.appending(path: "hello.elf")
    guard guest.exists else { throw Failed("\(guest.path): not found; Guests/build did not create it") }
    try root.copy(guest, to: "hello.elf")
    let options = ["kernel /hello.elf", "memory 128M", "append processors=1", "debug-exit"]
    let file = "/etc/sluice/hello.conf"
    try root.output(["sh", "-c", #"file=$1; shift; printf '%s\n' "$@" >"$file""#, "sh", file] + options)
    // A guest without a failed check writes 0 to the debug exit port. The exit status is then (0 << 1) | 1.
    let output = try root.output(["sluice", "run", "--config", file], status: 1)
    if let fault = BareMetalReport(output).fault { throw Failed(fault) }
    try root.output(["rm", file, "/hello.elf"])
  }

  /// Returns the reason why this machine cannot run a guest, or nil if it can.
  private static func reasonAgainstKVM() throws -> String? {
    do {
      try FileHandle(forUpdating: URL(filePath: "/dev/kvm")).close()
      return nil
    } catch { return sentence(error) }
  }
}
