// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// A client of the control socket that need not follow the protocol.
struct FuzzedClient: ~Copyable {
  private let socket: OwnedDescriptor
  /// The number of bytes that the client reads at a time. A client with 0 never reads.
  private let appetite: Int

  /// Connects, or returns nil if the VM's queue of clients is full.
  init?(_ path: String, appetite: Int) throws {
    self.appetite = appetite
    do throws(KernelError) { socket = try StreamSocket.connect(to: path, waits: false) } catch {
      if error.errno == KernelError.again { return nil }
      throw Failed("\(path): \(error)")
    }
  }

  /// Sends bytes with descriptors, as many as the socket accepts. Returns false if the VM has closed the connection.
  func send(_ bytes: ArraySlice<UInt8>, _ descriptors: [Int32]) throws -> Bool {
    guard !bytes.isEmpty else { return true }
    do throws(KernelError) {
      _ = try MessageSocket.send(bytes, descriptors: descriptors, to: socket.number)
      return true
    } catch {
      if MessageSocket.isEnd(error) { return false }
      throw Failed("send: \(error)")
    }
  }

  /// Reads some of the VM's bytes. Returns nil if the VM has closed the connection.
  func read() throws -> [UInt8]? {
    guard appetite > 0 else { return [] }
    do throws(KernelError) {
      switch try MessageSocket.receive(upTo: appetite, from: socket.number) {
      case .bytes(let bytes, _): return bytes
      case .nothing: return []
      case .end: return nil
      }
    } catch {
      if MessageSocket.isEnd(error) { return nil }
      throw Failed("receive: \(error)")
    }
  }

  /// Ends both directions, and keeps the socket.
  func end() { MessageSocket.end(socket.number) }
}
