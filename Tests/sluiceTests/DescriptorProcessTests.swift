// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Descriptors that a parent process passes to the program.
@Suite(.enabled(if: TinyVM.isPossible, "\(TinyVM.reason)"), .serialized)
struct DescriptorProcessTests {
  private static let quiet = TinyGuest().saying("up").idling()

  /// A wrapper that opens files in a shell and executes the program with other arguments. The kernel is `$3`.
  private static func shell(_ files: String, _ options: String) -> [String] {
    ["sh", "-c", "exec \(files); shift 3; exec \"$0\" run \(options) \"$@\""]
  }

  @Test("a VM starts from descriptors alone, and its trace goes to one of them")
  func descriptors() throws {
    let trace = FileManager.default.temporaryDirectory.appending(path: "trace-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: trace) }  // a temporary file
    let vm = try TinyVM(
      TinyGuest().writing(0, to: 0xF4), ["--debug-exit"],
      wrapper: Self.shell(
        "3<\"$3\" 4<>/dev/kvm 5>\(trace)", "--fd kernel=3 --fd kvm=4 --fd trace=5"))
    #expect(vm.wait() == 1, "\(vm.errors)")
    #expect(try String(contentsOfFile: trace, encoding: .utf8).contains("first-instruction"))
  }

  @Test("descriptors of LISTEN_FDS have the names of LISTEN_FDNAMES, and no other descriptor stays open")
  func listening() throws {
    let script = """
      exec 3<"$3" 4<>/dev/kvm 5</etc/passwd 7</etc/passwd
      shift 3
      export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=kernel:kvm
      exec "$0" run "$@" --initrd /dev/fd/7
      """
    let vm = try TinyVM(Self.quiet, wrapper: ["sh", "-c", script])
    try #require(vm.hears("up"), "\(vm.errors)")
    let files = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(vm.process)/fd").filter {
      try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(vm.process)/fd/\($0)")
        == "/etc/passwd"
    }
    #expect(files == ["7"])
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
  }

  @Test("the descriptor console is the guest's console, and a terminal on it becomes raw")
  func console() throws {
    let terminal = try TinyVM.Terminal()
    let vm = try TinyVM(
      TinyGuest().saying("up").echoing(), ["--fd", "console=5"],
      wrapper: TinyVM.Terminal.foreground
        + ["sh", "-c", "exec 5<&0 </dev/null >/dev/null; exec \"$0\" \"$@\""], terminal: terminal)
    try #require(vm.hears("up"), "\(vm.errors)")
    #expect(terminal.isRaw)
    terminal.type("typed")
    #expect(vm.hears("typed"))
    terminal.type("\u{1}x")
    #expect(vm.wait() == 0)
    #expect(!terminal.isRaw)
  }

  @Test("the socket notify receives READY=1 and STOPPING=1")
  func notify() throws {
    var ends: [Int32] = [0, 0]
    // SAFETY: the array has room for two numbers.
    #expect(unsafe socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends) == 0)
    _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
    let vm = try TinyVM(Self.quiet, ["--fd", "notify=\(ends[1])"])
    close(ends[1])
    defer { close(ends[0]) }
    func next() -> String { String(decoding: TinyVM.read(ends[0], milliseconds: 20_000), as: UTF8.self) }
    #expect(next() == "READY=1\nSTATUS=The guest runs.\n")
    kill(vm.process, SIGTERM)
    #expect(next().hasPrefix("STOPPING=1\nSTATUS="))
    #expect(vm.wait() == 143)
  }

  @Test(
    "a wrong descriptor ends the program with status 2 and its name",
    arguments: [
      ("--fd kernel=3 --fd kvm=3", "descriptor 'kvm': number 3 is the descriptor 'kernel' too; "),
      ("--fd kernel=999", "descriptor 'kernel': number 999 is not open"),
      ("--fd kvm=3", "descriptor 'kvm': number 3 is not an open /dev/kvm; "),
      ("--fd disk=3", "descriptor 'disk': unknown name; "),
      ("--fd kernel=3 --kernel /k", "descriptor 'kernel': passed, but a path names the file too; "),
      ("--fd kernel=x", "'kernel=x' is not a name and a number; give one such as kvm=3"),
    ])
  func wrong(_ options: String, _ text: String) throws {
    let vm = try TinyVM(Self.quiet, wrapper: Self.shell("3<\"$3\"", options))
    #expect(vm.wait() == 2)
    let errors = vm.errors
    #expect(errors.contains(text), "\(errors)")
  }
}
