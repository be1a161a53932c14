// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import PCI
import VFIO

/// Finds a device of this host.
func hostDevice(_ address: Address) throws -> HostDevice {
  let device: HostDevice?
  do throws(KernelError) { device = try HostDevice(address: address.description) } catch {
    throw CommandFailure(error.description)
  }
  guard let device else {
    throw CommandFailure(VFIOError.noDevice(address.description).message)
  }
  return device
}

/// The device that a command acts on.
struct DeviceOperand: ParsableArguments {
  @Argument(help: "The device's PCI address, such as 0000:01:00.0.", transform: DeviceArgument.hostAddress)
  var device: Address?

  /// The address. A command's `run` checks that it is given, because the parser validates before it reports
  /// unknown options.
  var address: Address {
    get throws { try required(device, "device: no PCI address; give one such as 0000:01:00.0") }
  }
}

/// `sluice bind`.
struct BindCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bind",
    abstract: "Bind a device to vfio-pci, so that it can be passed through.",
    usage: "sluice bind <device>",
    discussion: """
      The device is unbound from its host driver, and the host cannot use it until
      'sluice unbind'. Stop using it on the host first. The driver vfio-pci must be
      loaded: type 'sudo modprobe vfio-pci'.

      EXAMPLE:
        sudo sluice bind 0000:01:00.0
      """)

  @OptionGroup var operand: DeviceOperand

  func run() throws {
    do { try hostDevice(operand.address).bind() } catch let error as VFIOError {
      throw CommandFailure(error.message)
    }
  }
}

/// `sluice unbind`.
struct UnbindCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unbind",
    abstract: "Return a device from vfio-pci to its host driver.",
    usage: "sluice unbind <device>",
    discussion: """
      EXAMPLE:
        sudo sluice unbind 0000:01:00.0
      """)

  @OptionGroup var operand: DeviceOperand

  func run() throws {
    do { try hostDevice(operand.address).unbind() } catch let error as VFIOError {
      throw CommandFailure(error.message)
    }
  }
}
