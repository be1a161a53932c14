// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import PCI
import VFIO

private func hostDevice(_ address: Address) throws -> HostDevice {
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
  @Argument(help: "The device's PCI address.", transform: DeviceArgument.init)
  var device: DeviceArgument?

  /// Asked for by the command's `run`: the parser tells of unknown options only after its validation.
  var address: Address {
    get throws { try required(device, "device: give its PCI address").address }
  }
}

/// `sluice bind`.
struct BindCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bind",
    abstract: "Takes a device from its driver and gives it to vfio-pci.",
    usage: "sluice bind <device>",
    discussion: """
      EXAMPLE:
        sudo sluice bind 0000:01:00.0
      """)

  @OptionGroup var operand: DeviceOperand

  func run() throws {
    do { try hostDevice(operand.address).bind() } catch let error
      as VFIOError
    {
      throw CommandFailure(error.message)
    }
  }
}

/// `sluice unbind`.
struct UnbindCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unbind",
    abstract: "Gives a device back to the driver that the host has for it.",
    usage: "sluice unbind <device>",
    discussion: """
      EXAMPLE:
        sudo sluice unbind 0000:01:00.0
      """)

  @OptionGroup var operand: DeviceOperand

  func run() throws {
    do { try hostDevice(operand.address).unbind() } catch let error
      as VFIOError
    {
      throw CommandFailure(error.message)
    }
  }
}
