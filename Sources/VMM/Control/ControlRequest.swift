// SPDX-License-Identifier: Apache-2.0

internal import Trace

/// The `id` of a request, which its reply repeats.
public struct ControlID: Equatable, Sendable {
  /// The value as JSON: a string or a whole number.
  let json: String

  /// The maximum size of a string, in bytes of UTF-8.
  public static let maxSize = 64
  /// The maximum number of characters of a number. A 64-bit number has at most 20.
  private static let maxDigits = 20

  /// Reads the field `id`. Returns nil if it is missing, there twice, or has an unsupported value.
  init?(_ object: FlatObject) {
    let name = ControlRequest.Field.id.rawValue
    guard object.names.count(where: { $0 == name }) == 1 else { return nil }
    if let text = object.strings[name], text.utf8.count <= Self.maxSize {
      json = JSON.quote(text)
    } else if let number = object.numbers[name], Self.isWhole(number) {
      json = number
    } else {
      return nil
    }
  }

  /// True for digits without a leading zero, with or without a minus sign.
  private static func isWhole(_ text: String) -> Bool {
    let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
    return text.utf8.count <= maxDigits && !digits.isEmpty && (digits == "0" || !digits.hasPrefix("0"))
      && digits.utf8.allSatisfy { (0x30...0x39).contains($0) }
  }
}

/// The severity of an injected error (PCIe 6.0 §6.2.2).
public enum InjectedError: String, CaseIterable, Sendable {
  /// Hardware corrected the error.
  case correctable
  /// A transaction failed, and the link is reliable.
  case nonFatal = "non-fatal"
  /// The link is unreliable. The guest must reset the slot.
  case fatal
}

/// A request of a client of the control socket: one line, a flat JSON object.
public struct ControlRequest: Equatable, Sendable {
  /// A value of the field `op`.
  public enum Verb: String, CaseIterable, Sendable {
    case status, events, add, remove, replace, inject, stop

    /// The fields of the request.
    var fields: Set<Field> {
      switch self {
      case .status, .events: [.id, .op]
      case .add: Set([.id, .op, .device, .port, .files] + Field.options)
      case .remove: [.id, .op, .device, .timeout]
      case .replace: Set([.id, .op, .device, .with, .files] + Field.options)
      case .inject: [.id, .op, .device, .severity]
      case .stop: [.id, .op, .timeout]
      }
    }
  }

  /// The name of a field.
  public enum Field: String, CaseIterable, Sendable {
    case id, op, device, port, with, files, severity, timeout
    case barMap = "bar-map"
    case peerDMA = "peer-dma"
    case memoryBit = "memory-bit"
    case token = "vf-token"

    /// The options of a device that is added, as in `--device`.
    static let options: [Field] = [.barMap, .peerDMA, .memoryBit, .token]
  }

  /// The effect of a request.
  public enum Action: Equatable, Sendable {
    /// Reply with the status of the VM and of its devices.
    case status
    /// Reply, and then send each event of the VM.
    case events
    /// Reply after the operation.
    case operation(ControlOperation)
  }

  /// A line that is not a valid request.
  struct Invalid: Error {
    /// The request's ID, or nil if it has none.
    let id: ControlID?
    let error: ControlError
  }

  /// The maximum size of a line without its newline, in bytes.
  public static let maxSize = 4096

  let id: ControlID
  let action: Action

  /// Parses a line without its newline.
  init(line: some Sequence<UInt8>) throws(Invalid) {
    guard let text = String(validating: line, as: UTF8.self), let object = FlatObject(text[...]) else {
      throw Invalid(id: nil, error: .notAnObject)
    }
    let id = ControlID(object)
    var seen: Set<String> = []
    for name in object.names where !seen.insert(name).inserted {
      throw Invalid(id: id, error: .doubledField(name))
    }
    guard let id else { throw Invalid(id: nil, error: .noID) }
    self.id = id
    do throws(ControlError) { action = try Self.action(object) } catch { throw Invalid(id: id, error: error) }
  }

  private static func action(_ object: FlatObject) throws(ControlError) -> Action {
    guard let name = object.strings[Field.op.rawValue] else { throw .noOperation }
    guard let verb = Verb(rawValue: name) else { throw .unknownOperation(name) }
    let known = Set(verb.fields.map(\.rawValue))
    for name in object.names where !known.contains(name) { throw .unknownField(name, verb) }
    switch verb {
    case .status: return .status
    case .events: return .events
    case .add:
      let device = try assigned(object, .device, verb)
      return .operation(.add(device, port: try port(object), files: try files(object, verb, for: device)))
    case .remove:
      return .operation(.remove(device: try device(object, verb), timeout: try timeout(object, verb)))
    case .replace:
      let successor = try assigned(object, .with, verb)
      return .operation(
        .replace(
          device: try device(object, verb), with: successor, files: try files(object, verb, for: successor)))
    case .inject:
      return .operation(.inject(device: try device(object, verb), try severity(object)))
    case .stop: return .operation(.stop(timeout: try timeout(object, verb)))
    }
  }

  private static func device(_ object: FlatObject, _ verb: Verb) throws(ControlError) -> String {
    try address(object, .device, verb).description
  }

  static func address(
    _ object: FlatObject, _ field: Field, _ verb: Verb
  ) throws(ControlError) -> DeviceName {
    guard let address = object.strings[field.rawValue].flatMap({ DeviceName($0) }) else {
      throw .invalidField(field, verb)
    }
    return address
  }

  private static func severity(_ object: FlatObject) throws(ControlError) -> InjectedError {
    guard let error = object.strings[Field.severity.rawValue].flatMap(InjectedError.init(rawValue:)) else {
      throw .invalidField(.severity, .inject)
    }
    return error
  }

  /// Returns the time in seconds that the guest gets, or nil. A device can leave without time, but the guest cannot power off.
  private static func timeout(_ object: FlatObject, _ verb: Verb) throws(ControlError) -> Int? {
    let name = Field.timeout.rawValue
    guard object.names.contains(name) else { return nil }
    guard let seconds = object.numbers[name].flatMap({ Int($0) }),
      (verb == .stop ? 1 : 0)...Configuration.maxStopTimeout ~= seconds
    else { throw .invalidField(.timeout, verb) }
    return seconds
  }
}
