// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import Testing

@testable import VMM

@Suite struct ControlSocketTests {
  private let directory = FileManager.default.temporaryDirectory.appending(
    path: "control-\(UUID().uuidString)")
  private var path: String { directory.appending(path: "socket").path }

  init() throws {
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  }

  private func clean() { try? FileManager.default.removeItem(at: directory) }  // a temporary folder

  @Test("the file of a socket without a listener is replaced, and the file can be removed")
  func stale() throws {
    defer { clean() }
    do { _ = try SocketListener.create(at: path) }
    #expect(FileManager.default.fileExists(atPath: path))
    let socket = try ControlSocket(path: path)
    _ = try StreamSocket.connect(to: path, waits: true)
    socket.removeFile()
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test("a socket with a listener is wrong usage, even with a full queue, and its file remains")
  func inUse() throws {
    defer { clean() }
    let listener = try SocketListener.create(at: path)
    var clients: [SharedDescriptor] = []
    for _ in 0..<40 {
      let error = #expect(throws: ControlProblem.self) { try ControlSocket(path: path) }
      #expect(error == .inUse(path) && error?.isUsage == true)
      do throws(KernelError) {
        clients.append(SharedDescriptor(try StreamSocket.connect(to: path, waits: false)))
      } catch { #expect(error.errno == KernelError.again) }
    }
    #expect(clients.count < 40 && FileManager.default.fileExists(atPath: path))
    withExtendedLifetime(listener.number) {}
  }

  @Test("another file is wrong usage and remains")
  func other() throws {
    defer { clean() }
    try Data("x".utf8).write(to: URL(filePath: path))
    #expect(throws: ControlProblem.notASocket(path)) { try ControlSocket(path: path) }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "x")
    #expect(throws: ControlProblem.kernel(KernelError("bind /nonexistent/socket", errno: 2))) {
      try ControlSocket(path: "/nonexistent/socket")
    }
  }

  @Test("the descriptor control is a private listener")
  func passed() throws {
    defer { clean() }
    let listener = try SocketListener.create(at: path)
    func duplicate() throws -> Int32 { try listener.duplicate().release() }
    let files = try HostFiles([("control", duplicate())])
    guard let taken = files.take(.control) else {
      Issue.record("the descriptor was not taken")
      return
    }
    let socket = try ControlSocket(taken)
    socket.removeFile()
    #expect(FileManager.default.fileExists(atPath: path), "another process has created the file")
    // SAFETY: the path lives for the call.
    #expect(unsafe chmod(path, 0o660) == 0)
    let number = try duplicate()
    defer { close(number) }
    #expect(throws: DescriptorProblem.wrong(.control, number: number)) {
      try HostFiles([("control", number)])
    }
  }

  @Test("a path and the descriptor control are wrong usage")
  func both() {
    var configuration = Configuration(kernel: "k")
    configuration.control = "/run/control"
    #expect(throws: DescriptorProblem.path(.control)) {
      try HostFiles(claiming: [.control], devices: nil).check(configuration)
    }
  }

  @Test(
    "root and the VM's user are accepted, as the VM's user namespace shows them",
    arguments: [
      // In the host's namespace, each user has an ID.
      (1000, false, [0, 1000], [1001, 65534]), (0, false, [0], [1000, 65534]),
      // In a namespace of root, only root has an ID.
      (0, true, [0], [65534]),
      // In a namespace of another user, root has none. The mode of the socket's file excludes other users.
      (1000, true, [1000, 65534], [0, 1001]), (65534, true, [65534], [0, 1000]),
    ] as [(UInt32, Bool, [UInt32], [UInt32])])
  func peers(_ user: UInt32, _ isInOwnNamespace: Bool, _ accepted: [UInt32], _ refused: [UInt32]) {
    let peers = ControlPeers(user: user, overflow: 65534, isInOwnNamespace: isInOwnNamespace)
    for user in accepted { #expect(peers.accepts(user)) }
    for user in refused { #expect(!peers.accepts(user)) }
  }
}
