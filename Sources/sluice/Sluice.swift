// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux

/// The command `sluice`.
@main
struct Sluice: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sluice",
    abstract: "Run a virtual machine with PCI devices of this host.",
    discussion: """
      A BAR is mapped only when the guest touches it, and is unmapped before the
      guest's memory-enable bit is cleared.

      EXAMPLES:
        sluice devices
        sudo sluice bind 0000:01:00.0
        sudo sluice run --kernel vmlinuz --initrd initrd --append 'console=ttyS0' \\
          --device 0000:01:00.0
        sudo sluice unbind 0000:01:00.0

      EXIT STATUS of 'sluice run', without and with --debug-exit:
        0       0     the guest powered off, or the user ended the VM by Ctrl-A x or
                  'sluice ctl'
        1       6     failure: a line on standard error has the cause
        2       2     wrong usage
        3       8     the guest requested a reset
        4       4     the guest reported a panic
        5       10    a vCPU had a triple fault
        128+N   12    signal N ended the VM
        -       2V+1  the guest wrote V to port 0xf4

      The exit status of the other subcommands is 0, 1 or 2, with the same meanings.
      """,
    version: "0.1.0",
    subcommands: [
      RunCommand.self, OpenCommand.self, DevicesCommand.self, BindCommand.self, UnbindCommand.self,
      CtlCommand.self, TimelineCommand.self,
    ])

  /// Runs the command. The exit status is 2 for wrong usage and 1 for a failure.
  static func main() {
    do {
      try InheritedDescriptors.openStandard()
      var command = try parsed()
      do { try command.run() } catch let error as ValidationError {
        throw WrongUsage(error, of: type(of: command))
      }
    } catch let error as CommandFailure {
      StandardError.write("sluice: \(error.message)\n", timeout: 1000)
      Self.exit(withStatus: error.status)
    } catch let error as KernelError {
      writeStandardError("sluice: \(error)\n")
      Self.exit(withStatus: 1)
    } catch let error as WrongUsage {
      writeStandardError(error.message + "\n")
      Self.exit(withStatus: 2)
    } catch {
      let code = exitCode(for: error)
      if code == .validationFailure {
        writeStandardError(fullMessage(for: error) + "\n")
        Self.exit(withStatus: 2)
      }
      exit(withError: error)
    }
  }

  /// Parses the arguments of the process, with the configuration file of `sluice run`.
  private static func parsed() throws -> any ParsableCommand {
    do {
      if let arguments = try RunArguments(Array(CommandLine.arguments.dropFirst())) {
        return try arguments.parse()
      }
    } catch let error as ValidationError { throw WrongUsage(error, of: RunCommand.self) }
    return try parseAsRoot()
  }

  private static func exit(withStatus status: Int32) -> Never { endProcess(status) }
}

/// A failure with a message for the user. Its exit status is 1, or an even number with `--debug-exit`.
struct CommandFailure: Error {
  let message: String
  let status: Int32

  init(_ message: String, status: Int32 = 1) { (self.message, self.status) = (message, status) }
}

/// An error for arguments that do not fit together, with the command's usage. Its exit status is 2.
struct WrongUsage: Error {
  let message: String

  /// Creates the error in the format of the parser's errors.
  init(_ error: ValidationError, of command: any ParsableCommand.Type) {
    message = """
      Error: \(error.message)
      Usage: \(Sluice.usageString(for: command))
        See 'sluice \(command.configuration.commandName ?? "") --help' for more information.
      """
  }
}
