// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Debian's systemd as process 1 of a pid namespace in L1, with the content of the Debian package.
///
/// The root is a directory of the machine, which L1 changes only in memory.
struct SystemdContainer {
  private let root: String
  private let child: Child
  private let context: CaseContext

  /// The unit of the lab's virtual machine.
  static let unit = "sluice@lab.service"

  /// The unit's time to stop in seconds, without an extension.
  static let timeoutStop = 5

  /// Starts systemd, and waits until it can start services.
  init(_ context: CaseContext, suite: String) throws {
    guard let root = context.manifest.systemdRoots[suite] else {
      throw Skipped(context.manifest.missing["systemd-\(suite)"] ?? "systemd of \(suite): not available")
    }
    (self.root, self.context) = (root, context)
    try Command.output(["dpkg-deb", "--extract", context.manifest.package, root])
    // The target keeps the unit in memory after its end. Otherwise its exit status would be lost.
    try Data("[Unit]\nWants=\(Self.unit)\n".utf8)
      .write(to: URL(filePath: root).appending(path: "etc/systemd/system/lab.target"))
    let settings = URL(filePath: root).appending(path: "etc/systemd/system/\(Self.unit).d")
    try settings.makeDirectory()
    try Data("[Service]\nTimeoutStopSec=\(Self.timeoutStop)\n".utf8)
      .write(to: settings.appending(path: "stop.conf"))
    // systemd finds the mounts of a container. The new root replaces the former root of the mount namespace, because
    // a process with another root may create no user namespace.
    let script = """
      root=$1
      mount --bind "$root" "$root" &&
      mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" && mount -t proc proc "$root/proc" &&
      mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" && mount -t tmpfs -o mode=755 tmpfs "$root/run" &&
      cd "$root" && mount --move . / &&
      exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        chroot . /lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=no
      """
    child = try context.start(
      [
        "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", script, "sh",
        root,
      ], as: "systemd")
    try wait("systemd has not started") { process != nil }
    try wait("systemd has no basic.target") {
      try run(["systemctl", "is-active", "basic.target"]) == "active"
    }
    try run(["systemctl", "start", "--job-mode=ignore-dependencies", "lab.target"])
  }

  /// Writes the configuration file of the virtual machine.
  func configure(_ lines: [String]) throws {
    try Data((lines.joined(separator: "\n") + "\n").utf8)
      .write(to: URL(filePath: root).appending(path: "etc/sluice/lab.conf"))
  }

  /// Copies a file to a path of the root.
  func copy(_ file: String, to path: String) throws {
    try Command.output(["cp", file, "\(root)/\(path)"])
  }

  /// Runs a program in the container, and returns its output with its errors.
  @discardableResult
  func run(_ arguments: [String]) throws -> String {
    guard let process else { throw Failed("systemd has ended; \(child.lastMessage)") }
    let enter = ["nsenter", "--target", process, "--mount", "--pid", "--root", "--wd=/"]
    return try Command.result(enter + arguments, mergingErrors: true).output
      .trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Runs systemctl for the unit.
  ///
  /// - Throws: `Failed` if systemctl reports an error.
  func systemctl(_ verb: String) throws {
    let output = try run(["systemctl", verb, Self.unit])
    try context.require(output.isEmpty, "systemctl \(verb): \(output); \(lastLines())")
  }

  /// Returns properties of the unit.
  func show(_ names: String...) throws -> [String] {
    let lines = try run(["systemctl", "show", "--property", names.joined(separator: ","), Self.unit])
      .split(separator: "\n")
    return try names.map { name in
      guard let line = lines.first(where: { $0.hasPrefix("\(name)=") }) else {
        throw Failed("systemctl show: no \(name) in '\(lines.joined(separator: "; "))'")
      }
      return String(line.dropFirst(name.count + 1))
    }
  }

  /// The messages of systemd about the unit, and the output of the unit.
  func journal() throws -> String {
    try run(["journalctl", "--unit", Self.unit, "--output", "cat", "--no-pager"])
  }

  /// Waits until the journal has a text.
  func expect(_ text: String) throws {
    try wait("the journal has no '\(text)'") { try journal().contains(text) }
  }

  /// Waits until a condition holds, or the case's deadline.
  func wait(_ problem: String, _ isTrue: () throws -> Bool) throws {
    while try !isTrue() {
      guard child.isRunning else {
        throw Failed("\(problem): systemd ended: \(child.lastLine); \(child.lastMessage)")
      }
      guard ContinuousClock.now < context.deadline else {
        throw Failed("\(problem) in time; \(lastLines())")
      }
      usleep(200_000)
    }
  }

  /// Keeps the journal, and ends all processes of the container.
  func close() {
    // A failure has another message, and the journal is only a log.
    try? Data(run(["journalctl", "--output", "short-monotonic", "--no-pager"]).utf8)
      .write(to: context.file("journal"))
    child.kill()
  }

  /// The last lines of the journal, for a message.
  func lastLines() -> String {
    do { return try journal().split(separator: "\n").suffix(4).joined(separator: " / ") } catch {
      return sentence(error)
    }
  }

  /// The process ID of systemd in L1, or nil if it has not started.
  private var process: String? {
    let path = "/proc/\(child.id)/task/\(child.id)/children"
    let list = try? String(contentsOfFile: path, encoding: .utf8)  // absent: the process has ended
    return list?.split(separator: " ").first.map(String.init)
  }
}
