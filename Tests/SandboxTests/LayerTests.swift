// SPDX-License-Identifier: Apache-2.0

import CLinux
import CProbes
import Foundation
import LayerActions
import Linux
import Subprocess
import SystemPackage
import Testing

@testable import Sandbox

/// An allowed call with arguments that the filter does not allow.
enum WrongArguments: String, CaseIterable {
  case otherProcess, otherSignal, executableMap, fileMap, sharedMap, executableProtection, advice,
    lockOperation
  case eventFlags, terminalOfOther
  case acceptFlags, acceptAddress, otherOption, sendFlags, sendAddress

  /// Maps a page for the calls.
  private static func page() -> UInt64 {
    UInt64(cl_mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
  }

  /// Returns a listening socket with a waiting client, and the client's socket.
  private static func sockets() -> (listener: Int32, client: Int32) {
    // SAFETY: the path lives for the calls.
    let path = "/tmp/sluice-layers-\(getpid())"
    let listener = unsafe cl_listen_unix(path, 0o600, 1)
    defer { _ = unsafe cl_remove_socket(path) }
    return (listener, unsafe cl_connect_unix(path, true))
  }

  /// Prepares the call. The returned closure makes the call and returns true if it succeeds.
  func prepare() -> () -> Bool {
    let page = Self.page()
    let (parent, process, thread) = (getppid(), cl_process_id(), cl_thread_id())
    // SAFETY: the path is a literal.
    let file = unsafe open("/proc/self/exe", O_RDONLY)
    let (listener, client) = Self.sockets()
    func map(_ protection: Int32, _ flags: Int32, _ file: Int32) -> Bool {
      cl_mmap(0, 4096, protection, flags, file, 0) > 0
    }
    return {
      switch self {
      // Signal 0 only checks the permission.
      case .otherProcess: return probe_send(parent, parent, 0) == 0
      case .otherSignal: return probe_send(process, thread, SIGWINCH) == 0
      case .executableMap: return map(PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1)
      case .fileMap: return map(PROT_READ, MAP_PRIVATE, file)
      case .sharedMap: return map(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1)
      case .executableProtection: return probe_protect(page, 4096, PROT_READ | PROT_EXEC) == 0
      case .advice: return cl_madvise(page, 4096, MADV_SEQUENTIAL) == 0
      case .lockOperation: return probe_requeue(page) == 0
      case .eventFlags: return probe_blocking_eventfd() >= 0
      case .acceptFlags: return probe_accept(listener, Int32(SOCK_CLOEXEC.rawValue), false) >= 0
      case .acceptAddress: return probe_accept(listener, Int32(CL_ACCEPT_FLAGS), true) >= 0
      case .otherOption: return cl_socket_option(client, SO_TYPE) == Int32(SOCK_STREAM.rawValue)
      case .sendFlags: return cl_send(client, nil, 0, true) == 0
      // EISCONN comes from the kernel.
      case .sendAddress: return probe_send_elsewhere(client) == -EISCONN
      // ENOTTY comes from the kernel: the descriptor is not a terminal.
      case .terminalOfOther: return cl_kvm_number(file, UInt(TCGETS), 0) == -ENOTTY
      }
    }
  }

  /// A kind of thread that may make the call with other arguments.
  var kind: ThreadKind {
    switch self {
    case .terminalOfOther: .control
    case .acceptFlags, .acceptAddress, .otherOption, .sendFlags, .sendAddress: .socket
    default: .vcpu
    }
  }
}

/// Each layer denies an action that succeeds without the layer. Each test runs in a separate process.
@Suite(.enabled(if: Confinement.isPossible, "seccomp filters cannot be loaded here"))
struct LayerTests {
  @Test("a call with other arguments kills the process", arguments: WrongArguments.allCases)
  func arguments(_ call: WrongArguments) async {
    await #expect(processExitsWith: .signal(SIGSYS)) { [call = call.rawValue as String] in
      guard let call = WrongArguments(rawValue: call) else { _exit(99) }
      let make = call.prepare()
      Confinement.enter(call.kind.rawValue)
      _ = make()
      _exit(0)
    }
  }

  @Test("without a filter, the same call succeeds", arguments: WrongArguments.allCases)
  func withoutFilter(_ call: WrongArguments) async {
    await #expect(processExitsWith: .exitCode(7)) { [call = call.rawValue as String] in
      guard let call = WrongArguments(rawValue: call) else { _exit(99) }
      _exit(call.prepare()() ? 7 : 1)
    }
  }

  @Test("a thread of the control socket accepts a client, reads its user and its bytes, replies and closes")
  func socket() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let path = "/tmp/sluice-socket-\(getpid())"
      let listener = try SocketListener.create(at: path)
      let client = try StreamSocket.connect(to: path, waits: true)
      try SocketListener.removeFile(path)
      let loop = try Epoll()
      let user = geteuid()
      Confinement.enter("socket")
      try loop.watch(listener.number, as: 1)
      guard try loop.next() == 1, let socket = try SocketListener.accept(listener.number) else { _exit(1) }
      guard try StreamSocket.peer(of: socket.number) == user else { _exit(2) }
      guard try StreamSocket.send([1], to: client.number) == 1, try socket.read(upTo: 2) == [1] else {
        _exit(3)
      }
      // An end of the scope would close it after the exit.
      _ = consume socket
      _exit(try client.read(upTo: 1).isEmpty ? 7 : 4)
    }
  }

  @Test("a kick within the process, malloc's mappings and the C library's last message are allowed")
  func allowed() async {
    await #expect(processExitsWith: .exitCode(7)) {
      try Linux.Thread.installKick()
      let own = Linux.Thread.Identity.current
      let page = UInt64(cl_mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
      Confinement.enter("vcpu")
      own.kick()
      // The host may have no free huge page.
      _ = cl_mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0)
      _ = cl_madvise(page, 4096, MADV_HUGEPAGE)
      guard writev(2, nil, 0) == 0 else { _exit(2) }
      guard cl_mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) > 0 else {
        _exit(1)
      }
      _exit(7)
    }
  }

  @Test("abort ends the process by SIGABRT, with the terminal restored", arguments: ThreadKind.allCases)
  func abort(_ kind: ThreadKind) async {
    await #expect(processExitsWith: .signal(SIGABRT)) { [kind = kind.rawValue as String] in
      let signals = try SignalFD()
      Confinement.enter(kind)
      withExtendedLifetime(signals) { probe_abort() }
    }
  }

  private static let hasInt80: Bool = probe_has_int80()

  @Test(
    "int 0x80 on one thread kills the process", .enabled(if: hasInt80, "this kernel has no 32-bit calls"))
  func int80() async {
    await #expect(processExitsWith: .signal(SIGSYS)) {
      let thread = try Linux.Thread(name: "confined") {
        Confinement.enter("vcpu")
        _ = probe_int80()
      }
      thread.join()
      _exit(0)
    }
    await #expect(processExitsWith: .exitCode(0)) {
      let thread = try Linux.Thread(name: "confined") { _ = probe_int80() }
      thread.join()
      _exit(0)
    }
  }

  @Test("an x32 call on one thread kills the process")
  func x32() async {
    await #expect(processExitsWith: .signal(SIGSYS)) {
      let thread = try Linux.Thread(name: "confined") {
        Confinement.enter("vcpu")
        _ = probe_x32()
      }
      thread.join()
      _exit(0)
    }
    await #expect(processExitsWith: .exitCode(7)) {
      // A kernel without x32 refuses the call, but the process survives.
      let result = probe_x32()
      _exit(result > 0 || result == -ENOSYS ? 7 : 1)
    }
  }

  /// Returns the exit status of a separate process that performs an action in a layer.
  private static func status(_ layer: String, _ action: String) async throws -> TerminationStatus {
    try await Subprocess.run(
      .path(FilePath(confined().path)), arguments: ["layer", layer, action], output: .discarded
    ).terminationStatus
  }

  private static func confined() throws -> URL {
    let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(filePath: tests).deletingLastPathComponent().appending(path: "ConfinedThreads")
  }

  @Test(
    "a layer alone denies an action that succeeds without it",
    .enabled(if: geteuid() == 0, "only root has capabilities to drop"),
    arguments: LayerDenial.all.filter { $0.abi <= LayerDenial.landlockABI })
  func denial(_ denial: LayerDenial) async throws {
    let status = try await Self.status(denial.layer.rawValue, denial.action.rawValue)
    #expect(status == (denial.layer == .seccomp ? .signaled(SIGSYS) : .exited(denial.status)))
    #expect(try await Self.status("none", denial.action.rawValue) == .exited(0))
  }

  @Test(
    "a set-user-ID program adds no privileges under no_new_privs",
    .enabled(if: geteuid() == 0, "only root can create such a program"), arguments: [false, true])
  func newPrivileges(_ isForbidden: Bool) async throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "suid-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }  // a temporary directory
    let program = directory.appending(path: "id").path
    try FileManager.default.copyItem(atPath: "/usr/bin/head", toPath: program)
    for (path, mode) in [(directory.path, 0o755), (program, 0o4755)] {
      // SAFETY: the path lives for the call.
      #expect(unsafe chmod(path, mode_t(mode)) == 0)
    }
    await #expect(processExitsWith: isForbidden ? .exitCode(1) : .exitCode(0)) {
      [program = program as String, isForbidden = isForbidden as Bool] in
      guard setgid(65534) == 0, setuid(65534) == 0 else { _exit(99) }
      if isForbidden { _ = try ProcessSandbox.enter(.noNewPrivileges) }
      // SAFETY: the strings live until execv replaces the program.
      let arguments = unsafe [strdup(program), strdup("-c1"), strdup("/etc/shadow"), nil]
      _ = unsafe execv(program, arguments)
      _exit(98)
    }
  }

  @Test("the layer empties every set of capabilities", .enabled(if: geteuid() == 0, "only root can do it"))
  func boundingSet() async {
    await #expect(processExitsWith: .exitCode(7)) {
      guard probe_bounding(0) == 1 else { _exit(1) }
      guard try ProcessSandbox.enter(.capabilities) == nil else { _exit(2) }
      let status = try String(contentsOfFile: "/proc/thread-self/status", encoding: .utf8)
      let sets = status.split(separator: "\n").filter { $0.hasPrefix("Cap") }
      guard sets.count == 5, sets.allSatisfy({ $0.hasSuffix("\t0000000000000000") }) else { _exit(3) }
      // A process that has no right to change the set finds it empty.
      _exit(try ProcessSandbox.enter(.capabilities) == nil ? 7 : 4)
    }
  }

  @Test("many threads allocate and free under their filters", arguments: [1, 16, 64])
  func allocator(_ count: Int) async throws {
    let result = try await Subprocess.run(
      .path(FilePath(Self.confined().path)), arguments: ["\(count)"], output: .discarded)
    #expect(result.terminationStatus == .exited(7))
  }
}
