// SPDX-License-Identifier: Apache-2.0

internal import PCI

/// An operation on a running VM. The main thread performs it, one at a time.
public enum ControlOperation: Equatable, Sendable {
  /// Adds a device to an empty port: the port with a device number on the root bus, or the first one if the number is nil.
  case add(Configuration.AssignedDevice, port: UInt8?, files: [DescriptorName])
  /// Removes a device behind a port as ``remove(device:timeout:)`` does, and puts another one into the port.
  case replace(device: String, with: Configuration.AssignedDevice, files: [DescriptorName])
  /// Removes a device from the guest and returns it to the host. A device behind a port leaves without the guest's consent after
  /// a number of seconds, at once if it is 0.
  case remove(device: String, timeout: Int?)
  /// Reports an error of a device behind a port to the guest, without an error of the host.
  case inject(device: String, InjectedError)
  /// Ends the VM: at once, or after its power button has been pressed and the guest has not powered off within a number
  /// of seconds.
  case stop(timeout: Int?)

  /// The name of the operation.
  public var verb: ControlRequest.Verb {
    switch self {
    case .add: .add
    case .replace: .replace
    case .remove: .remove
    case .inject: .inject
    case .stop: .stop
    }
  }

  /// The devices that the operation occupies. Two operations never occupy the same device.
  public var devices: [String] {
    switch self {
    case .add(let device, _, _): [device.address.description]
    case .replace(let old, let device, _): [old, device.address.description]
    case .remove(let device, _), .inject(let device, _): [device]
    case .stop: []
    }
  }

  /// The names of the descriptors that come with the request, in their order.
  var files: [DescriptorName] {
    switch self {
    case .add(_, _, let files), .replace(_, _, let files): files
    case .remove, .inject, .stop: []
    }
  }
}
