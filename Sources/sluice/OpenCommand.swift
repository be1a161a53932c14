// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import PCI
import VFIO
import VMM

/// `sluice open`.
struct OpenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "open",
    abstract: "Open devices as root and run a command with them as an ordinary user.",
    usage: "sluice open [<options>] <address> ... -- <command> ...",
    discussion: """
      Opens KVM, the IOMMU and the devices, removes the limit on locked memory, raises
      the limit on descriptors, changes to the user of --user, and executes the command
      in the same process. The command receives the files as descriptors (LISTEN_FDS).
      'sluice run' takes them by itself. After a failure, no device stays bound that
      --bind has bound.

      EXAMPLE:
        sudo sluice open --bind --user $USER 0000:01:00.0 -- \\
          sluice run --kernel vmlinuz --device 0000:01:00.0
        sudo sluice open --bind --user $USER --config vm.conf -- \
          sluice run --config vm.conf
      """)

  @Argument(
    parsing: .captureForPassthrough,
    help: ArgumentHelp(
      "The devices to open, as in --device of 'sluice run', then '--', then the command to execute and its "
        + "arguments. Options come before the devices.", valueName: "address"))
  var words: [String] = []

  @Flag(help: "Bind each device to vfio-pci first, as 'sluice bind' does.")
  var bind = false

  @Option(help: ArgumentHelp("The user of the command (default: this user).", valueName: "name"))
  var user: String?

  @Option(
    help: ArgumentHelp(
      "The command's limit on locked memory in MiB, or with K, M, G or T (default: no limit).",
      valueName: "size"),
    transform: Self.size)
  var memoryLimit: UInt64?

  @Option(
    help: ArgumentHelp(
      "The kernel's interface to the IOMMU, as in 'sluice run'", valueName: "auto|iommufd|type1"))
  var iommu: RunCommand.IOMMUArgument = .auto

  @Option(
    help: ArgumentHelp(
      "Also open the devices of a configuration file of 'sluice run', by its --iommu", valueName: "file"))
  var config: String?

  private static func size(_ argument: String) throws -> UInt64 {
    guard !argument.contains(",") else {
      throw ValidationError("'\(argument)' is not a size; give a number with K, M, G or T, such as 512M")
    }
    return try MemoryArgument(argument).bytes
  }

  func run() throws {
    let request = try self.request()
    let user = try self.user.map(Self.find)
    do throws(KernelError) { try InheritedDescriptors.close() } catch {
      throw CommandFailure(error.description)
    }
    var bound = BoundByUs()
    do {
      if bind { for device in request.devices { try bound.bind(device.address) } }
      try execute(request, as: user)
    } catch {
      bound.unbind()
      throw CommandFailure(Self.message(error))
    }
  }

  /// The arguments with the options of the configuration file.
  struct Request {
    var devices: [Configuration.AssignedDevice]
    /// The requested interface to the IOMMU, or nil for an automatic choice.
    var interface: IOMMUInterface?
    var command: [String]
  }

  /// Returns the arguments with the options of the configuration file.
  func request() throws -> Request {
    let file = try config.flatMap { try RunArguments(["run", "--config", $0])?.parse() }
    let named = try words.prefix { $0 != "--" }.map(DeviceArgument.init)
    let devices = named + (file?.devices ?? [])
    let command = words.drop { $0 != "--" }.dropFirst()
    // The VM of a file may have no device.
    guard file != nil || !devices.isEmpty else {
      throw ValidationError("device: no PCI address; give one such as 0000:01:00.0")
    }
    guard !command.isEmpty else { throw ValidationError("command: none; give one after --") }
    guard Set(devices.map(\.address)).count == devices.count else {
      throw ValidationError("device: named twice; name each device once")
    }
    return Request(
      devices: devices.map(\.assigned), interface: iommu.interface ?? file?.iommu.interface,
      command: Array(command))
  }

  private static func find(_ name: String) throws -> User {
    let found: User?
    do throws(KernelError) { found = try User(name) } catch {
      throw CommandFailure(OpenProblem.user(name, error).message)
    }
    guard let found else { throw CommandFailure(OpenProblem.noUser(name).message, status: 2) }
    return found
  }

  /// Opens the files and executes the command. Returns only by an error. Everything is then closed.
  private func execute(_ request: Request, as user: User?) throws {
    let files = try OpenedDevices(request.devices, iommu: request.interface)
    defer { files.close() }
    do throws(KernelError) {
      try DescriptorLimit.raise()
      if let memoryLimit { try MemoryLockLimit.set(memoryLimit) } else { try MemoryLockLimit.raise() }
    } catch { throw OpenProblem.limit(error) }
    do throws(KernelError) { try files.pass() } catch { throw OpenProblem.passing(error) }
    if let user {
      do throws(KernelError) { try user.become() } catch { throw OpenProblem.user(user.name, error) }
    }
    let failure = NextProgram.execute(request.command)
    if user != nil {
      do throws(KernelError) { try User.restoreRoot() } catch { throw OpenProblem.passing(error) }
    }
    throw OpenProblem.program(request.command[0], failure)
  }

  /// Returns the message of an error of the opening of devices.
  static func message(_ error: any Error) -> String {
    switch error {
    case let error as RunError: error.message
    case let error as VFIOError: error.message
    case let error as OpenProblem: error.message
    case let error as CommandFailure: error.message
    default: "\(error)"
    }
  }
}
