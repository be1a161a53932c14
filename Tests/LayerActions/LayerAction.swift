// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// An action that a layer of confinement denies.
public enum LayerAction: String, CaseIterable, Sendable {
  /// Opens a file to read.
  case file
  /// Connects a UDP socket to this host.
  case udp
  /// Connects a TCP socket to a listener on this host.
  case tcp
  /// Connects to an abstract socket of another domain.
  case abstract
  /// Looks up a segment of System V shared memory by its key.
  case segment
  /// Changes the root directory, which needs CAP_SYS_CHROOT.
  case root
  /// Checks that the parent may be signalled.
  case signal

  /// Prepares the action. The returned closure performs it, and returns 0 or the error number.
  func prepare() -> () -> Int32 {
    switch self {
    case .file:
      return {
        // SAFETY: the path is a literal.
        Self.number(unsafe open("/proc/version", O_RDONLY))
      }
    case .udp:
      return { Self.connect(socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0), toPort: 9) }
    case .tcp:
      let port = Self.listeningPort()
      return { Self.connect(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0), toPort: port) }
    case .abstract:
      let address = Self.abstractAddress()
      Self.listen(at: address)
      return { Self.connect(to: address) }
    case .segment:
      let key: key_t = 0x534C_5543
      let id = shmget(key, 4096, IPC_CREAT | 0o600)
      return {
        let result = Self.number(shmget(key, 0, 0))
        // In another namespace this fails. The next run without the layer removes the segment.
        _ = shmctl(id, IPC_RMID, nil)
        return result
      }
    case .root:
      return {
        // SAFETY: the path is a literal.
        Self.number(unsafe chroot("/"))
      }
    case .signal:
      let parent = getppid()
      return { Self.number(kill(parent, 0)) }
    }
  }

  /// Returns 0 for a result of success, else errno.
  private static func number(_ result: Int32) -> Int32 { result < 0 ? errno : 0 }

  private static func loopback(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }

  private static func connect(_ socket: Int32, toPort port: UInt16) -> Int32 {
    var address = loopback(port)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    // SAFETY: the struct lives for the call, which reads `size` bytes.
    return unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        number(unsafe Glibc.connect(socket, $0, size))
      }
    }
  }

  /// Returns the port of a TCP socket that listens until the process ends.
  private static func listeningPort() -> UInt16 {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = loopback(0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    // SAFETY: the struct lives for the calls, which read or write `size` bytes.
    unsafe withUnsafeMutablePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        _ = unsafe bind(listener, $0, size)
        _ = Glibc.listen(listener, 1)
        _ = unsafe getsockname(listener, $0, &size)
      }
    }
    return UInt16(bigEndian: address.sin_port)
  }

  private static func abstractAddress() -> [UInt8] {
    // The family, then a name that begins with NUL.
    [UInt8(AF_UNIX), 0, 0] + Array("sluice-layer-\(getpid())".utf8)
  }

  private static func listen(at address: [UInt8]) {
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    // SAFETY: the bytes live for the call, which reads `count` of them.
    unsafe address.withUnsafeBytes { bytes in
      guard let pointer = unsafe bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return }
      _ = unsafe bind(listener, pointer, socklen_t(bytes.count))
    }
    _ = Glibc.listen(listener, 1)
  }

  private static func connect(to address: [UInt8]) -> Int32 {
    let client = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    // SAFETY: the bytes live for the call, which reads `count` of them.
    return unsafe address.withUnsafeBytes { bytes in
      guard let pointer = unsafe bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else {
        return EINVAL
      }
      return number(unsafe Glibc.connect(client, pointer, socklen_t(bytes.count)))
    }
  }
}
