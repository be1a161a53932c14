// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import PCI
internal import Passthrough
internal import Trace
internal import VFIO

/// The fields of a request that adds a device.
extension ControlRequest {
  /// Returns the device of a field, with the options of the other fields.
  static func assigned(
    _ object: FlatObject, _ field: Field, _ verb: Verb
  ) throws(ControlError) -> Configuration.AssignedDevice {
    var device = Configuration.AssignedDevice(try address(object, field, verb), hasPort: true)
    if let policy = try option(object, .barMap, verb, MappingPolicy.init(rawValue:)) {
      device.policies.barMap = policy
    }
    if let policy = try option(object, .peerDMA, verb, { PeerPolicy($0) }) {
      device.policies.peerDMA = policy
    }
    if let policy = try option(object, .memoryBit, verb, MemoryBitPolicy.init(rawValue:)) {
      device.policies.memoryBit = policy
    }
    device.token = try option(object, .token, verb) { VFToken.bytes($0) == nil ? nil : $0 }
    return device
  }

  private static func option<Value>(
    _ object: FlatObject, _ field: Field, _ verb: Verb, _ parse: (String) -> Value?
  ) throws(ControlError) -> Value? {
    guard object.names.contains(field.rawValue) else { return nil }
    guard let value = object.strings[field.rawValue].flatMap(parse) else { throw .invalidField(field, verb) }
    return value
  }

  /// Returns the device number of a port, or nil if the request has none.
  static func port(_ object: FlatObject) throws(ControlError) -> UInt8? {
    guard object.names.contains(Field.port.rawValue) else { return nil }
    guard let number = object.numbers[Field.port.rawValue].flatMap({ UInt8($0) }),
      1...Configuration.maxDevices ~= Int(number)
    else { throw .invalidField(.port, .add) }
    return number
  }

  /// Returns the names of the descriptors. Only the descriptors of the device are valid: the filters of a VM may kill it
  /// for the check of another descriptor.
  static func files(
    _ object: FlatObject, _ verb: Verb, for device: Configuration.AssignedDevice
  ) throws(ControlError) -> [DescriptorName] {
    let words = object.strings[Field.files.rawValue]?.split(separator: " ") ?? []
    let names = words.compactMap { DescriptorName(String($0)) }
    guard !names.isEmpty, names.count == words.count, Set(names).count == names.count,
      names.allSatisfy({
        device.address.path == nil ? $0.isOfDevices || $0 == .devices : $0 == .server(0)
      })
    else { throw .invalidField(.files, verb) }
    return names
  }
}
