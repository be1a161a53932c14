// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux

/// The command `sluice`.
@main
struct Sluice: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sluice",
    abstract: "Runs a virtual machine that has PCI devices of this host.",
    discussion: """
      A device's memory is mapped only when the guest touches it, and is unmapped before the \
      guest's memory-enable bit goes off.

      EXAMPLES:
        sluice devices
        sudo sluice bind 0000:01:00.0
        sudo sluice run --kernel vmlinuz --initrd initrd --append 'console=ttyS0' \\
          --device 0000:01:00.0
        sudo sluice unbind 0000:01:00.0

      EXIT STATUS of 'sluice run':
        0 the guest switched itself off, or Ctrl-A x was typed; 1 failure; 2 wrong usage;
        3 the guest asked for a reset; 4 the guest reported a panic; 5 triple fault;
        128+N ended by signal N.
        With --debug-exit, 2V+1 for a value V written to port 0xf4, and every other status is even:
        6 failure; 8 reset; 10 triple fault; 12 ended by a signal; 0, 2 and 4 as above.
      """,
    version: "0.1.0",
    subcommands: [
      RunCommand.self, DevicesCommand.self, BindCommand.self, UnbindCommand.self, TimelineCommand.self,
    ])

  /// Wrong usage is exit status 2, a failure 1.
  static func main() {
    do {
      try InheritedDescriptors.openStandard()
      var command = try parseAsRoot()
      do { try command.run() } catch let error as ValidationError {
        throw WrongUsage(error, of: type(of: command))
      }
    } catch let error as CommandFailure {
      StandardError.write("sluice: \(error.message)\n", patience: 1000)
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

  private static func exit(withStatus status: Int32) -> Never { endProcess(status) }
}

/// A failure with a message for the user; exit status 1, or the even one of `--debug-exit`.
struct CommandFailure: Error {
  let message: String
  let status: Int32

  init(_ message: String, status: Int32 = 1) { (self.message, self.status) = (message, status) }
}

/// Arguments that do not fit together, with the command's usage; exit status 2.
struct WrongUsage: Error {
  let message: String

  /// A command's error in the form of the parser's own.
  init(_ error: ValidationError, of command: any ParsableCommand.Type) {
    message = """
      Error: \(error.message)
      Usage: \(Sluice.usageString(for: command))
        See 'sluice \(command.configuration.commandName ?? "") --help' for more information.
      """
  }
}
