// SPDX-License-Identifier: Apache-2.0

public import Passthrough
internal import Seams

/// An error of a request at the control socket.
public enum ControlError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A line has more than ``ControlRequest/maxSize`` bytes.
  case tooLong
  /// A line is not a flat JSON object.
  case notAnObject
  /// The field `id` is missing or has an unsupported value.
  case noID
  /// The field `op` is missing or is not a string.
  case noOperation
  /// The field `op` has an unknown value.
  case unknownOperation(String)
  /// A field is there twice.
  case doubledField(String)
  /// The operation has no such field.
  case unknownField(String, ControlRequest.Verb)
  /// The value of a required or optional field is missing or invalid.
  case invalidField(ControlRequest.Field, ControlRequest.Verb)
  /// The socket has ``ControlServer/clientLimit`` clients.
  case tooManyClients
  /// The process that has connected belongs to another user.
  case notPermitted
  /// Another operation on the device has not ended.
  case busy(device: String, ControlRequest.Verb)
  /// The VM has no such device.
  case noDevice(String, ControlRequest.Verb)
  /// The device has been released to the host before.
  case released(device: String, ControlRequest.Verb)
  /// The device is not behind a port.
  case noPort(device: String, ControlRequest.Verb)
  /// The VM has no ports.
  case noPorts(ControlRequest.Verb)
  /// A port is not empty or does not exist, or no port is empty.
  case noEmptyPort(device: String, UInt8?)
  /// The guest has not yet released the device in a port.
  case busyPort(UInt8)
  /// The number of descriptors in the message is not the number of names in the field `files`.
  case descriptorCount(names: Int, sent: Int, ControlRequest.Verb)
  /// A device cannot be added. The VM is unchanged.
  case refused(String, RunError, ControlRequest.Verb)
  /// A device has left the VM, and its replacement cannot be added.
  case halfReplaced(String, RunError, left: String)
  /// The operation has failed, and the VM ends.
  case failed(FunctionError, ControlRequest.Verb)
  /// The VM has ended before the operation.
  case ending(ControlRequest.Verb)

  /// The object of the operation.
  public var subject: String {
    switch self {
    case .tooLong, .notAnObject, .noID, .noOperation, .unknownOperation, .doubledField, .unknownField,
      .invalidField:
      "request"
    case .descriptorCount: "request"
    case .busyPort(let slot): "port \(slot)"
    case .noEmptyPort(let device, _), .refused(let device, _, _), .halfReplaced(let device, _, _):
      "device \(device)"
    case .tooManyClients, .notPermitted: "control socket"
    case .busy(let device, _), .noDevice(let device, _), .released(let device, _),
      .noPort(let device, _):
      "device \(device)"
    case .failed(let error, _): "device \(error.device)"
    case .ending, .noPorts: "VM"
    }
  }

  /// The name of the operation.
  public var operation: String {
    switch self {
    case .tooLong, .notAnObject, .noID, .noOperation, .unknownOperation, .doubledField: "read"
    case .tooManyClients, .notPermitted: "connect"
    case .unknownField(_, let verb), .invalidField(_, let verb), .busy(_, let verb), .noDevice(_, let verb),
      .released(_, let verb), .noPort(_, let verb), .failed(_, let verb), .ending(let verb),
      .noPorts(let verb), .descriptorCount(_, _, let verb), .refused(_, _, let verb):
      verb.rawValue
    case .noEmptyPort, .busyPort: ControlRequest.Verb.add.rawValue
    case .halfReplaced: ControlRequest.Verb.replace.rawValue
    }
  }

  /// The cause.
  public var cause: String {
    switch self {
    case .tooLong: "longer than \(ControlRequest.maxSize) bytes"
    case .notAnObject: "not a JSON object of strings and numbers"
    case .noID: "'id' is neither a string of at most \(ControlID.maxSize) bytes nor a whole number"
    case .noOperation: "'op' is not a string"
    case .unknownOperation(let name): "'\(name.printable)' is not an operation"
    case .doubledField(let name): "'\(name.printable)' is there twice"
    case .unknownField(let name, _): "'\(name.printable)' is not a field of this operation"
    case .invalidField(.timeout, let verb):
      "'timeout' is not a number of seconds from \(verb == .stop ? 1 : 0) to \(Configuration.maxStopTimeout)"
    case .invalidField(.severity, _):
      "'severity' is not one of \(InjectedError.allCases.map(\.rawValue).joined(separator: ", "))"
    case .invalidField(.port, _): "'port' is not a number from 1 to \(Configuration.maxDevices)"
    case .invalidField(.files, _): "'files' is not a list of the names of a device's descriptors"
    case .invalidField(.token, _): "'\(ControlRequest.Field.token.rawValue)' is not a UUID"
    case .invalidField(let field, _) where ControlRequest.Field.options.contains(field):
      "'\(field.rawValue)' is not a policy"
    case .invalidField(let field, _):
      "'\(field.rawValue)' is neither a PCI address nor \(DeviceName.prefix)PATH"
    case .tooManyClients: "\(ControlServer.clientLimit) clients are connected"
    case .notPermitted: "the client belongs to another user"
    case .busy: "another operation on it has not ended"
    case .noDevice: "the VM has no such device"
    case .released: "already released to the host"
    case .noPort: "not behind a port"
    case .noPorts: "it has no ports"
    case .noEmptyPort(_, let slot):
      slot.map { "port \($0) is not an empty port" } ?? "the VM has no empty port"
    case .busyPort: "the guest has not released its device"
    case .descriptorCount(let names, let sent, _):
      "'files' has \(names) names, and the message \(sent) descriptors"
    case .refused(let device, let error, _): Self.cause(error, device)
    case .halfReplaced(let device, let error, let left):
      "\(Self.cause(error, device)); \(left) has already left the VM"
    case .failed(let error, _): error.cause.description
    case .ending: "it has ended"
    }
  }

  /// Returns the text of an error without the device that is its subject.
  private static func cause(_ error: RunError, _ device: String) -> String {
    let (text, subject) = (error.description, "device \(device): ")
    return text.hasPrefix(subject) ? String(text.dropFirst(subject.count)) : text
  }

  /// The subject, the operation and the cause.
  public var description: String { "\(subject): \(operation): \(cause)" }
}
