// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The root directory of a container with Debian's systemd. The packages are unpacked and not installed.
struct SystemdRoot {
  let suite: DebianSuite
  let workspace: Workspace

  private static let packages = ["systemd", "coreutils", "dash", "util-linux", "sed", "grep"]

  /// The units that a container does not need. They take time under emulation.
  private static let masked = [
    "systemd-binfmt", "systemd-firstboot", "systemd-hwdb-update", "systemd-sysusers", "systemd-timesyncd",
    "systemd-update-utmp", "systemd-update-done", "systemd-tmpfiles-setup-dev",
    "systemd-tmpfiles-setup-dev-early", "systemd-journal-flush", "systemd-journal-catalog-update",
    "ldconfig", "systemd-logind", "systemd-networkd", "getty@", "console-getty", "systemd-pcrphase-sysinit",
    "systemd-random-seed", "systemd-sysctl", "systemd-modules-load", "systemd-udevd", "systemd-remount-fs",
  ]

  private var directory: URL { workspace.lab.appending(path: "roots/systemd-\(suite.name)") }

  /// Returns the root. The first call downloads the packages.
  ///
  /// - Throws: `Unavailable` with the cause if that fails.
  func make() throws(Unavailable) -> URL {
    do {
      let complete = directory.appending(path: ".complete")
      if !complete.exists {
        let root = BuildRoot(directory: directory, isForeign: true)
        try root.create()
        printLine("lab: downloading systemd of \(suite.name)")
        try root.download(
          Self.packages, try AptLists(workspace: workspace).options([suite]), programs: [])
        try root.unpack()
        try directory.appending(path: "packages").removeIfPresent()
        try Data().write(to: complete)
      }
      try configure()
      return directory
    } catch {
      throw Unavailable("systemd of \(suite.name): \(sentence(error))")
    }
  }

  /// The ID of the user and of the group `sluice`. The other users except root share it.
  static let user = "900"

  /// Creates the files that the scripts of the packages would create.
  private func configure() throws {
    for name in ["sys", "run", "root", "etc/sluice", "var/log", "var/lib/systemd", "srv"] {
      try directory.appending(path: name).makeDirectory()
    }
    let names = [
      "root", "sluice", "systemd-journal", "systemd-network", "systemd-resolve", "messagebus", "kvm",
    ]
    let ids = names.map { $0 == "root" ? "0" : Self.user }
    let users = zip(names, ids).map { "\($0):x:\($1):\($1)::/root:/usr/sbin/nologin\n" }
    let groups = zip(names, ids).map { "\($0):x:\($1):\n" }
    for (name, text) in [
      ("passwd", users.joined()), ("group", groups.joined()),
      ("machine-id", "5\(String(repeating: "1", count: 31))\n"),
      ("nsswitch.conf", "passwd: files\ngroup: files\n"), ("hostname", "lab\n"),
    ] {
      try Data(text.utf8).write(to: directory.appending(path: "etc/\(name)"))
    }
    let units = directory.appending(path: "etc/systemd/system")
    try units.makeDirectory()
    for name in Self.masked {
      let link = units.appending(path: "\(name).service")
      try link.removeIfPresent()
      try FileManager.default.createSymbolicLink(atPath: link.path, withDestinationPath: "/dev/null")
    }
  }
}
