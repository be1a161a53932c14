// SPDX-License-Identifier: Apache-2.0

import Linux
import Trace
import VMM

/// A failure of a client of the control socket.
enum ControlFailure: CustomStringConvertible {
  /// The client cannot connect.
  case connect(KernelError)
  /// The connection has ended early.
  case closed(String)
  /// The other process does not speak the protocol.
  case malformed(String)

  /// The subject, the operation and the cause.
  var description: String {
    switch self {
    case .connect(let error): "control socket: \(error)"
    case .closed(let path): "control socket \(path): read: the VM has closed the connection"
    case .malformed(let path): "control socket \(path): read: not a line of Sluice"
    }
  }
}

/// A connection of a client to a VM's control socket.
struct ControlConnection: ~Copyable {
  let path: String
  private let socket: OwnedDescriptor
  private var buffer: [UInt8] = []

  /// The maximum size of a line of the VM, in bytes.
  private static let maxLine = 1 << 20

  /// Connects to a path.
  init(_ path: String) throws {
    self.path = path
    do throws(KernelError) { socket = try StreamSocket.connect(to: path, waits: true) } catch {
      throw CommandFailure(ControlFailure.connect(error).message)
    }
  }

  /// Sends a request with descriptors.
  func send(_ line: String, passing descriptors: [Int32] = []) throws {
    // A VM that refuses the client has closed the connection. Its reply has the cause.
    do throws(KernelError) {
      try StreamSocket.sendAll(Array(line.utf8), passing: descriptors, to: socket.number)
    } catch {}
  }

  /// Sends a request and returns the reply.
  mutating func reply(to line: String, passing descriptors: [Int32] = []) throws -> Reply {
    try send(line, passing: descriptors)
    return try reply()
  }

  /// Returns the next line without its newline, or nil at the end of the connection.
  mutating func line() throws -> String? {
    var searched = 0
    while true {
      if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        defer { buffer.removeFirst(end + 1) }
        return String(decoding: buffer[..<end], as: UTF8.self)
      }
      searched = buffer.count
      guard searched <= Self.maxLine else { throw CommandFailure(ControlFailure.malformed(path).message) }
      do throws(KernelError) {
        let bytes = try socket.read(upTo: 65536)
        if bytes.isEmpty { return nil }
        buffer += bytes
      } catch {
        // A VM that closes the connection with unread requests resets it.
        if error.errno != KernelError.interrupted { return nil }
      }
    }
  }

  /// Returns the reply to the request.
  mutating func reply() throws -> Reply {
    guard let line = try line() else { throw CommandFailure(ControlFailure.closed(path).message) }
    guard let reply = Reply(line) else { throw CommandFailure(ControlFailure.malformed(path).message) }
    return reply
  }

  /// A reply of a VM.
  struct Reply {
    let line: String
    private let object: FlatObject

    /// Parses a line. Returns nil if it is not a reply.
    init?(_ line: String) {
      guard let object = FlatObject(line[...]), ["0", "1"].contains(object.numbers["ok"]) else { return nil }
      (self.line, self.object) = (line, object)
    }

    /// The VM's interface to the IOMMU, or nil.
    var interface: IOMMUInterface? { object.strings["iommu"].flatMap(IOMMUInterface.init(rawValue:)) }
    /// True if the VM has ports.
    var hasPorts: Bool { count("ports") > 0 }
    /// The IOMMU groups that the VM has open.
    var groups: Set<String> {
      Set((object.strings["groups"] ?? "").split(separator: " ").map(String.init))
    }
    /// The device number of the port that an operation has used, or nil.
    var port: UInt8? { object.numbers["port"].flatMap { UInt8($0) } }

    private func text(_ name: String) -> String { object.strings[name] ?? "?" }
    private func number(_ name: String) -> String { object.numbers[name] ?? "?" }
    /// Returns a number of devices or ports.
    private func count(_ name: String) -> Int {
      min(Int(number(name)).map { max(0, $0) } ?? 0, Configuration.maxDevices)
    }

    /// The error as a message, or nil if the request has succeeded.
    var error: String? {
      guard object.numbers["ok"] == "0" else { return nil }
      return "\(text("subject")): \(text("operation")): \(text("cause")); \(text("remedy"))"
    }

    /// Returns the reply as text.
    func text(for verb: ControlRequest.Verb, timeout: Int?) -> String {
      switch verb {
      case .status: status
      case .events: "connected; the events of the VM follow"
      case .add: "added to port \(number("port"))"
      case .remove: "removed from the guest and released to the host"
      case .replace: "removed and released to the host; its replacement is in port \(number("port"))"
      case .inject: "the port has reported the error to the guest"
      case .stop: timeout.map { "the power button is pressed; the VM ends within \($0) s" } ?? "the VM ends"
      }
    }

    private var status: String {
      let memory = (UInt64(number("memory")) ?? 0) >> 20
      let outcome = object.strings["outcome"].map { " (\($0))" } ?? ""
      var lines = ["\(text("state"))\(outcome), \(number("vcpus")) vCPUs, \(memory) MiB of RAM"]
      for index in 0..<count("ports") {
        let device = text("port\(index).device")
        lines.append("port \(number("port\(index)"))  \(device.isEmpty ? "empty" : device)")
      }
      for index in 0..<count("devices") {
        let name = "device\(index)"
        lines.append(
          "\(text(name))  \(text("\(name).state")), windows opened \(number("\(name).opened")) of "
            + "\(number("\(name).windows")), vectors used \(number("\(name).used")) of \(number("\(name).vectors"))"
        )
      }
      return lines.joined(separator: "\n")
    }

    /// Returns a line with an event as text: the time in ms, the event, and its other fields.
    static func text(ofEvent line: String) -> String {
      guard let object = FlatObject(line[...]), let event = object.strings["event"],
        let time = object.numbers["time"].flatMap({ Int64($0) }), time >= 0
      else { return line }
      let fields = object.names.filter { $0 != "time" && $0 != "event" }.compactMap { name in
        (object.strings[name] ?? object.numbers[name]).map { " \(name)=\($0)" }
      }
      let thousandths = String(time % 1000)
      let zeros = String(repeating: "0", count: 3 - thousandths.count)
      return "\(time / 1000).\(zeros)\(thousandths) ms  \(event)\(fields.joined())"
    }
  }
}
