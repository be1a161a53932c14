// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Gate
import PCI
import Trace
import VMM

/// The request of `sluice ctl`.
struct CtlRequest {
  private let verb: ControlRequest.Verb
  /// The device, or nil if the operation has none.
  private let device: DeviceArgument?
  /// The device that enters a port, or nil.
  private let added: DeviceArgument?
  private let port: UInt8?
  private let binds: Bool
  /// The fields of the request that do not depend on the VM, as JSON.
  private let fields: String

  /// Checks the arguments of a command.
  init(_ command: CtlCommand, _ verb: ControlRequest.Verb) throws {
    self.verb = verb
    port = command.port
    binds = command.bind
    switch verb {
    case .add, .remove, .replace, .inject:
      device = try required(command.device, "device: no PCI address; give one such as 0000:01:00.0")
    case .status, .events, .stop:
      if command.device != nil { throw Self.surplus("address", verb, "device") }
      device = nil
    }
    if command.replacement != nil, verb != .replace { throw Self.surplus("address", verb, "second device") }
    if command.port != nil, verb != .add { throw Self.surplus("--port", verb, "port") }
    if command.timeout != nil, verb != .stop, verb != .remove {
      throw Self.surplus("--timeout", verb, "timeout")
    }
    if verb == .stop, let timeout = command.timeout { _ = try StopTimeoutArgument.seconds("\(timeout)") }
    if binds, verb != .add, verb != .replace { throw Self.surplus("--bind", verb, "device to bind") }
    added = verb == .add ? device : verb == .replace ? command.replacement ?? device : nil
    guard added?.policies.peers.isEmpty ?? true else {
      throw ValidationError(
        "peer-dma: '\(verb.rawValue)' has one policy for all devices; leave the address out")
    }
    guard added?.reconnect == nil else {
      throw ValidationError(
        "reconnect: '\(verb.rawValue)' connects with the rights of its caller, which the VM does not have; leave the option "
          + "out")
    }
    var fields = ""
    if verb == .inject { fields += ",\"severity\":\"\(command.severity.rawValue)\"" }
    if let timeout = command.timeout { fields += ",\"timeout\":\(timeout)" }
    self.fields = fields
  }

  private static func surplus(_ name: String, _ verb: ControlRequest.Verb, _ noun: String) -> ValidationError
  {
    ValidationError("\(name): '\(verb.rawValue)' has no \(noun); leave it out")
  }

  /// Sends the request, and returns the reply.
  func perform(_ socket: inout ControlConnection) throws -> ControlConnection.Reply {
    guard let device, let added else { return try socket.reply(to: simpleLine) }
    guard verb == .replace, added.address == device.address else {
      return try add(added, verb, device, port, &socket)
    }
    // The VM has the device open until it has left.
    let removal = try socket.reply(to: line(.remove, device))
    guard removal.error == nil, let port = removal.port else { return removal }
    return try add(added, .add, added, port, &socket)
  }

  /// Opens a device, and sends the request with its files.
  private func add(
    _ added: DeviceArgument, _ verb: ControlRequest.Verb, _ device: DeviceArgument, _ port: UInt8?,
    _ socket: inout ControlConnection
  ) throws -> ControlConnection.Reply {
    if added.address.path != nil { return try connect(added, verb, device, port, &socket) }
    let status = try socket.reply(to: line(.status, nil))
    if status.error != nil { return status }
    guard let interface = status.interface else {
      let address = added.address.description
      throw CommandFailure(
        status.hasPorts ? HostProblem.noHostDevices(address).message : ControlError.noPorts(verb).message)
    }
    var bound = BoundByUs()
    do {
      if binds { try bound.bind(added.address) }
      var assigned = added.assigned
      assigned.hasPort = true
      let files = try OpenedDevices(adding: assigned, iommu: interface, groups: status.groups)
      defer { files.closeFiles() }
      let reply = try socket.reply(
        to: line(verb, device, adding: added, to: port, files: files.names), passing: files.numbers)
      if reply.error != nil {
        files.closeFiles()
        bound.unbind()
      }
      return reply
    } catch {
      bound.unbind()
      throw CommandFailure(OpenCommand.message(error))
    }
  }

  /// Connects to the process of a device, and sends the request with the socket.
  private func connect(
    _ added: DeviceArgument, _ verb: ControlRequest.Verb, _ device: DeviceArgument, _ port: UInt8?,
    _ socket: inout ControlConnection
  ) throws -> ControlConnection.Reply {
    do {
      let files = try OpenedDevices(adding: added.address)
      defer { files.closeFiles() }
      return try socket.reply(
        to: line(verb, device, adding: added, to: port, files: files.names), passing: files.numbers)
    } catch { throw CommandFailure(OpenCommand.message(error)) }
  }

  /// The request of an operation without files, as a line.
  var simpleLine: String { line(verb, device) }

  /// The request of an operation with files, as a line.
  ///
  /// - Parameters:
  ///   - verb: The operation.
  ///   - device: The device that the operation names first.
  ///   - added: The device that is added.
  ///   - port: The port, or nil.
  ///   - files: The names of its files.
  func line(
    _ verb: ControlRequest.Verb, _ device: DeviceArgument, adding added: DeviceArgument, to port: UInt8?,
    files: [String]
  ) -> String {
    var more = Self.options(of: added)
    if verb == .replace { more += Self.field(.with, added.address.description) }
    if let port { more += ",\"\(ControlRequest.Field.port.rawValue)\":\(port)" }
    return line(verb, device, more + Self.field(.files, files.joined(separator: " ")))
  }

  /// Returns a request as a line.
  private func line(_ verb: ControlRequest.Verb, _ device: DeviceArgument?, _ more: String = "") -> String {
    let address = device.map { Self.field(.device, $0.address.description) } ?? ""
    return "{\"id\":1,\"op\":\"\(verb.rawValue)\"\(address)\(fields)\(more)}\n"
  }

  private static func options(of device: DeviceArgument) -> String {
    let policies = device.policies
    return field(.barMap, policies.barMap.rawValue) + field(.peerDMA, policies.peerDMA.text)
      + field(.memoryBit, policies.memoryBit.rawValue) + (device.token.map { field(.token, $0) } ?? "")
  }

  private static func field(_ name: ControlRequest.Field, _ text: String) -> String {
    ",\"\(name.rawValue)\":\(JSON.quote(text))"
  }
}
