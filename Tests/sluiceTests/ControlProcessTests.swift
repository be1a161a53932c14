// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import Testing

/// The control socket of a confined VM, and its client `sluice ctl`.
@Suite(.enabled(if: TinyVM.isPossible, "\(TinyVM.reason)"), .serialized)
struct ControlProcessTests {
  private static let quiet = TinyGuest().saying("up").idling()
  private let directory = FileManager.default.temporaryDirectory.appending(path: "ctl-\(UUID().uuidString)")
  private var path: String { directory.appending(path: "control").path }

  init() throws {
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  }

  private func clean() { try? FileManager.default.removeItem(at: directory) }  // a temporary folder

  private func start(_ options: [String] = []) throws -> TinyVM {
    let vm = try TinyVM(Self.quiet, ["--control", path] + options)
    try #require(vm.hears("up"), "\(vm.errors)")
    return vm
  }

  private func ctl(_ arguments: [String], as user: UInt32? = nil) async throws -> Program.Result {
    let wrapper = user.map { ["setpriv", "--reuid=\($0)", "--regid=\($0)", "--clear-groups"] } ?? []
    return try await Program.tool(wrapper + [Program.file, "ctl", path] + arguments)
  }

  @Test("status, events and stop reach a confined VM, and the events end with the VM")
  func requests() async throws {
    defer { clean() }
    let vm = try start()
    let status = try await ctl(["status"])
    #expect(status.status == 0 && status.output == "running, 1 vCPUs, 16 MiB of RAM\n")
    #expect(
      try await ctl(["status", "--json"]).output
        == #"{"id":1,"ok":1,"state":"running","vcpus":1,"memory":16777216,"ports":0,"devices":0}"# + "\n")
    async let events = ctl(["events"])
    async let lines = ctl(["events", "--json"])
    // The subscribers connect concurrently.
    try await Task.sleep(for: .seconds(1))
    let stop = try await ctl(["stop"])
    #expect(stop.status == 0 && stop.output == "the VM ends\n")
    #expect(vm.wait() == 0)
    let (text, json) = try await (events, lines)
    #expect(text.status == 0 && json.status == 0, "\(text.messages)")
    let names = text.output.split(separator: "\n").compactMap { $0.split(separator: "  ").last }
    #expect(
      names == [
        "connected; the events of the VM follow", "phase name=quit", "phase name=devices-handed-back",
      ])
    let last = json.output.split(separator: "\n").last ?? ""
    #expect(last.hasSuffix(#""event":"phase","name":"devices-handed-back"}"#))
  }

  @Test("an error reply is a message on standard error with status 1")
  func error() async throws {
    defer { clean() }
    let vm = try start()
    let message =
      "sluice: device 0000:01:00.0: remove: the VM has no such device; request the status for the devices of "
      + "the VM\n"
    let result = try await ctl(["remove", "01:00.0"])
    #expect(result.status == 1 && result.output == "" && result.messages == message)
    let json = try await ctl(["remove", "01:00.0", "--json"])
    #expect(json.status == 1 && json.messages == message)
    #expect(json.output.hasPrefix(#"{"id":1,"ok":0,"subject":"device 0000:01:00.0","operation":"remove","#))
    withExtendedLifetime(vm) {}
  }

  @Test("stop with a timeout ends a guest without a driver of the power button at the deadline")
  func deadline() async throws {
    defer { clean() }
    let vm = try start()
    let result = try await ctl(["stop", "--timeout", "1"])
    #expect(result.status == 0)
    #expect(result.output == "the power button is pressed; the VM ends within 1 s\n")
    #expect(vm.wait() == 0)
  }

  @Test("the thread of the socket has the filter, and the socket's file has mode 0600")
  func thread() async throws {
    defer { clean() }
    let vm = try start()
    let tasks = "/proc/\(vm.process)/task"
    var names: [String] = []
    for thread in try FileManager.default.contentsOfDirectory(atPath: tasks) {
      let status = try String(contentsOfFile: "\(tasks)/\(thread)/status", encoding: .utf8)
      guard status.hasPrefix("Name:\tsocket\n") else { continue }
      names.append("socket")
      #expect(status.contains("Seccomp:\t2\n") && status.contains("CapEff:\t0000000000000000\n"))
    }
    #expect(names.count == 1)
    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    #expect(mode == 0o600)
  }

  @Test("a socket of a running VM is wrong usage, and a file that a VM has left is replaced")
  func inUse() async throws {
    defer { clean() }
    let vm = try start()
    let second = try TinyVM(Self.quiet, ["--control", path])
    #expect(second.wait() == 2)
    #expect(
      second.errors
        == "sluice: control socket \(path): bind: another process listens on it; give another --control, or end that process\n"
    )
    #expect(try await ctl(["status"]).status == 0)
    kill(vm.process, SIGKILL)
    #expect(vm.wait() == 137)
    let refused = try await ctl(["status"])
    #expect(refused.status == 1)
    #expect(
      refused.messages
        == "sluice: control socket: connect \(path): Connection refused; start the VM: no process listens on the socket\n"
    )
    let third = try start()
    #expect(try await ctl(["stop"]).status == 0)
    #expect(third.wait() == 0)
  }

  @Test("a start that fails leaves no file")
  func failedStart() async throws {
    defer { clean() }
    let result = try await Program.run(["run", "--kernel", "/nonexistent", "--control", path])
    #expect(result.status == 1)
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test("a listening socket can be passed as the descriptor control")
  func descriptor() async throws {
    defer { clean() }
    let listener = try SocketListener.create(at: path)
    _ = fcntl(listener.number, F_SETFD, 0)
    let vm = try TinyVM(Self.quiet, ["--fd", "control=\(listener.number)"])
    try #require(vm.hears("up"), "\(vm.errors)")
    _ = fcntl(listener.number, F_SETFD, FD_CLOEXEC)
    #expect(try await ctl(["stop"]).output == "the VM ends\n")
    #expect(vm.wait() == 0)
    withExtendedLifetime(listener.number) {}
  }

  /// Sets the owner and the mode of a file.
  private static func set(_ path: String, owner: UInt32? = nil, mode: mode_t) {
    // SAFETY: the path lives for the calls.
    if let owner { #expect(unsafe chown(path, owner, owner) == 0) }
    #expect(unsafe chmod(path, mode) == 0)
  }

  @Test(
    "a process of another user is refused by the file's mode, and by its credentials if the VM belongs to root",
    .enabled(if: geteuid() == 0, "only root can become other users"))
  func usersOfRoot() async throws {
    defer { clean() }
    let vm = try start(["--sandbox", "namespaces"])
    Self.set(directory.path, mode: 0o755)
    let denied = try await ctl(["status"], as: 65534)
    #expect(denied.status == 1)
    #expect(
      denied.messages
        == "sluice: control socket: connect \(path): Permission denied; run the command with sudo, or as the user of the VM\n"
    )
    #expect(try await ctl(["status"]).status == 0)
    Self.set(path, mode: 0o666)
    for user in [1, 65534] as [UInt32] {
      let refused = try await ctl(["stop"], as: user)
      #expect(refused.status == 1)
      #expect(
        refused.messages
          == "sluice: control socket: connect: the client belongs to another user; connect as root or as the user of the VM\n"
      )
    }
    #expect(try await ctl(["stop"]).status == 0)
    #expect(vm.wait() == 0)
  }

  @Test(
    "root and the VM's user reach a VM of an ordinary user, and other users do not",
    .enabled(if: geteuid() == 0, "only root can become other users"), arguments: [1, 65534] as [UInt32])
  func usersOfAnotherUser(_ user: UInt32) async throws {
    defer { clean() }
    Self.set(directory.path, owner: user, mode: 0o755)
    let become = "setpriv --reuid=\(user) --regid=\(user) --clear-groups"
    let vm = try TinyVM(
      Self.quiet, ["--control", path, "--sandbox", "namespaces"],
      wrapper: ["sh", "-c", "exec 4<>/dev/kvm; exec \(become) \"$0\" \"$@\" --fd kvm=4"])
    try #require(vm.hears("up"), "\(vm.errors)")
    for (client, status) in [(0, 0), (user, 0), (65533, 1)] as [(UInt32, Int32)] {
      let result = try await ctl(["status"], as: client)
      #expect(result.status == status, "user \(client): \(result.messages)")
      if status == 1 { #expect(result.messages.contains(": Permission denied; ")) }
    }
    let stop = try await ctl(["stop"], as: user)
    #expect(stop.status == 0)
    #expect(vm.wait() == 0)
  }

  @Test(
    "wrong usage of ctl ends with status 2 and a remedy",
    arguments: [
      ([], "path: none; give the path of the VM's --control"),
      (["s"], "operation: none; give one of status, events, add, remove, replace, inject, stop"),
      (
        ["s", "halt"],
        "operation: 'halt' is not an operation; give one of status, events, add, remove, replace, inject, stop"
      ),
      (["s", "remove"], "device: no PCI address; give one such as 0000:01:00.0"),
      (["s", "remove", "x"], "'x' is not a PCI address"),
      (["s", "status", "01:00.0"], "address: 'status' has no device; leave it out"),
      (["s", "status", "--timeout", "5"], "--timeout: 'status' has no timeout; leave it out"),
      (["s", "stop", "--timeout", "0"], "'0' is not a time in seconds; give 1 to 86400"),
      (["s", "stop", "--no-such"], "'--no-such'"), (["s", "stop", "01:00.0", "extra"], "extra"),
    ] as [([String], String)])
  func usage(_ arguments: [String], _ text: String) async throws {
    defer { clean() }
    let result = try await Program.run(["ctl"] + arguments)
    #expect(result.status == 2 && result.output == "")
    #expect(result.messages.contains(text), "\(result.messages)")
  }

  @Test("a path without a socket is a failure with status 1")
  func noSocket() async throws {
    defer { clean() }
    let result = try await ctl(["status"])
    #expect(result.status == 1)
    #expect(
      result.messages
        == "sluice: control socket: connect \(path): No such file or directory; give the path of the VM's --control\n"
    )
  }
}
