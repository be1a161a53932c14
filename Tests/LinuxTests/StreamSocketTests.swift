// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Linux

@Suite struct StreamSocketTests {
  private let directory: Temporary
  private var path: String { directory.path + "/socket" }

  init() throws { directory = try Temporary() }

  private func mode() throws -> Int? {
    try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
  }

  private func accept(_ listener: Int32) throws -> OwnedDescriptor {
    guard let client = try SocketListener.accept(listener) else { throw POSIXError(.EAGAIN) }
    return client
  }

  /// Sets the mode of the socket's file.
  private func set(_ mode: mode_t) {
    // SAFETY: the path lives for the call.
    #expect(unsafe chmod(path, mode) == 0)
  }

  @Test("the file of a listener has mode 0600, whatever the umask is")
  func modes() async {
    await #expect(processExitsWith: .exitCode(7)) { [path = path as String] in
      for mask in [0, 0o022, 0o077] as [mode_t] {
        umask(mask)
        let listener = try SocketListener.create(at: path)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        guard mode == 0o600, DescriptorFacts(listener.number)?.isPrivateListener == true else { _exit(1) }
        try SocketListener.removeFile(path)
      }
      _exit(7)
    }
  }

  @Test("a path that exists, is too long or empty is an error with the path")
  func errors() throws {
    let listener = try SocketListener.create(at: path)
    #expect(throws: KernelError("bind \(path)", errno: KernelError.addressInUse)) {
      _ = try SocketListener.create(at: path)
    }
    for path in ["", "/" + String(repeating: "x", count: 107)] {
      #expect(throws: KernelError("bind \(path)", .limit)) { _ = try SocketListener.create(at: path) }
      #expect(throws: KernelError("connect \(path)", .limit)) {
        _ = try StreamSocket.connect(to: path, waits: true)
      }
    }
    withExtendedLifetime(listener.number) {}
  }

  @Test("only a socket's file is removed")
  func remove() throws {
    let file = try directory.file("file")
    #expect(throws: KernelError("unlink \(file)", .wrongFile)) { try SocketListener.removeFile(file) }
    #expect(FileManager.default.fileExists(atPath: file))
    #expect(throws: KernelError("unlink \(path)", errno: KernelError.noEntry)) {
      try SocketListener.removeFile(path)
    }
  }

  @Test("bytes and the user of the peer arrive, and a listener without a client returns nil")
  func connection() throws {
    let listener = try SocketListener.create(at: path)
    #expect(throws: POSIXError.self) { _ = try accept(listener.number) }
    let client = try StreamSocket.connect(to: path, waits: true)
    let server = try accept(listener.number)
    #expect(try StreamSocket.peer(of: server.number) == geteuid())
    try StreamSocket.sendAll([1, 2, 3], to: client.number)
    #expect(try server.read(upTo: 9) == [1, 2, 3])
    #expect(throws: KernelError("read", errno: KernelError.again)) { try server.read(upTo: 1) }
    #expect(try StreamSocket.send([4, 5], to: server.number) == 2)
    #expect(try client.read(upTo: 9) == [4, 5])
  }

  @Test("a peer that does not read stops a send, and a closed peer is an error without a signal")
  func slow() throws {
    let listener = try SocketListener.create(at: path)
    let client = SharedDescriptor(try StreamSocket.connect(to: path, waits: true))
    let server = try accept(listener.number)
    let bytes = [UInt8](repeating: 0, count: 65536)
    var total = 0
    while case let sent = try StreamSocket.send(bytes[...], to: server.number), sent > 0 { total += sent }
    #expect(total > 0 && total < 16 << 20)
    client.close()
    #expect(throws: KernelError.self) { try StreamSocket.send(bytes[...], to: server.number) }
  }

  @Test("a listener is private if its file belongs to root or this user, and only the owner may use it")
  func isPrivate() throws {
    let listener = try SocketListener.create(at: path)
    func isPrivate() -> Bool? { DescriptorFacts(listener.number)?.isPrivateListener }
    #expect(isPrivate() == true)
    for mode in [0o660, 0o602, 0o620, 0o666, 0o604] as [mode_t] {
      set(mode)
      #expect(isPrivate() == false)
    }
    set(0o600)
    if geteuid() == 0 {
      // SAFETY: the path lives for the call.
      #expect(unsafe chown(path, 65534, 65534) == 0)
      #expect(isPrivate() == false)
      #expect(unsafe chown(path, 0, 0) == 0)
    }
    #expect(isPrivate() == true)
    try SocketListener.removeFile(path)
    #expect(isPrivate() == false)
    _ = try directory.file("socket")
    set(0o600)
    #expect(isPrivate() == false, "a file that replaces the socket's file")
  }

  @Test("a connected socket, a datagram socket and an abstract name are no private listeners")
  func others() throws {
    let listener = try SocketListener.create(at: path)
    let client = try StreamSocket.connect(to: path, waits: true)
    #expect(DescriptorFacts(client.number)?.isPrivateListener == false)
    let datagram = OwnedDescriptor(owning: socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0))
    #expect(DescriptorFacts(datagram.number)?.isPrivateListener == false)
    let abstract = OwnedDescriptor(owning: socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
    // The kernel chooses an abstract name for the family alone.
    var family = sa_family_t(AF_UNIX)
    // SAFETY: the number lives for the call, which reads its two bytes.
    let bound = unsafe withUnsafePointer(to: &family) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(abstract.number, $0, 2)
      }
    }
    #expect(bound == 0 && listen(abstract.number, 1) == 0)
    #expect(DescriptorFacts(abstract.number)?.isPrivateListener == false)
    withExtendedLifetime(listener.number) {}
  }
}
